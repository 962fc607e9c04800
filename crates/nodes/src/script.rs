//! The script of the shell that asks a node.

use std::path::Path;

use rail_matrix::read::System;

/// What to ask beside the facts that every node has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The folder for programs, of whose disk the free space is asked: absolute, or below
    /// the user's home. Without it, the home.
    pub stage: Option<&'a Path>,
    /// A folder of a model, likewise.
    pub model: Option<&'a Path>,
}

/// Runs a command, and prints `>NAME`, the lines of its stdout after `|`, `<CODE`, and the
/// lines of its stderr after `!`. It needs no temporary file.
const ASK: &str = r#"exec 3>&1
ask() {
    printf ">%s\n" "$1"
    said=$({
        out=$(eval "$2" 3>&-)
        code=$?
        [ -z "$out" ] || printf "%s\n" "$out" | sed "s/^/|/" >&3
        printf "<%s\n" "$code" >&3
    } 2>&1 </dev/null)
    [ -z "$said" ] || printf "%s\n" "$said" | sed "s/^/!/"
}
"#;

/// The clock, to a fraction of a second where perl is. It is read first and last.
const CLOCK: &str = "perl -MTime::HiRes=time -e 'printf \"%.3f\\n\", time' || date +%s";

const DISK: &str = r#"d=$stage
while [ ! -e "$d" ]; do d=${d%/*}; [ -n "$d" ] || d=/; done
if [ -w "$d" ]; then echo writable; else echo read-only; fi
df -Pk "$d""#;

/// Processes with the names of programs that use jaccl: `PID USER - NAME`. A name is looked
/// for among the first words alone, because a script may have it among its arguments. No
/// more of a command line is printed: it can hold secrets.
const JOBS: &str = r#"ps -A -o pid= -o user= -o args= | awk '{
    for (i = 3; i <= 6 && i <= NF; i++) {
        name = tolower($i)
        sub(".*/", "", name)
        if (name ~ /^(exo|mlx[.]launch|mlx_lm([.][a-z_]+)?|jaccl-rank|rail-rank)$/) {
            print $1, $2, "-", name
            next
        }
    }
}'"#;

/// Processes that have a device open: `PID USER DEVICE NAME`.
const HOLDERS: &str = r#"for verbs in /sys/class/infiniband_verbs/uverbs*; do
    [ -e "$verbs" ] || continue
    device=$(cat "$verbs/ibdev")
    find /proc/[0-9]*/fd -lname "/dev/infiniband/${verbs##*/}" 2>/dev/null | while read -r fd; do
        pid=${fd#/proc/}
        pid=${pid%%/*}
        echo "$pid" $(ps -o user= -p "$pid") "$device" "$(cat "/proc/$pid/comm")"
    done
done | sort -u"#;

/// `SIZE SHA256 NAME` of each file that makes a model. Of weights, three MiB are hashed: the
/// first, one in the middle, and the last.
const MODEL: &str = r#"cd "$model" && {
    if command -v sha256sum >/dev/null; then sum() { sha256sum; }; else sum() { shasum -a 256; }; fi
    for file in *.json *.jinja *.model *.safetensors; do
        [ -f "$file" ] || continue
        size=$(($(wc -c < "$file")))
        case $file in
        *.safetensors)
            hash=$({
                head -c 1048576 "$file"
                dd if="$file" bs=1048576 skip=$((size / 2097152)) count=1 2>/dev/null
                tail -c 1048576 "$file"
            } | sum) ;;
        *) hash=$(sum < "$file") ;;
        esac
        echo "$size ${hash%% *} $file"
    done
}"#;

/// On every system.
const COMMON: [(&str, &str); 4] = [
    ("uname", "uname -sm"),
    ("processors", "getconf _NPROCESSORS_ONLN"),
    ("disk", DISK),
    ("jobs", JOBS),
];

const MACOS: [(&str, &str); 6] = [
    ("sw_vers", "sw_vers"),
    (
        "sysctl",
        "sysctl machdep.cpu.brand_string hw.memsize hw.model",
    ),
    ("ports", "ibv_devinfo -v"),
    ("battery", "pmset -g batt"),
    ("settings", "pmset -g"),
    ("heat", "pmset -g therm"),
];

const LINUX: [(&str, &str); 9] = [
    ("os", "cat /etc/os-release"),
    (
        "chip",
        "grep -m1 '^model name' /proc/cpuinfo || lscpu | grep '^Model name'",
    ),
    ("machine", "cat /sys/class/dmi/id/product_name"),
    ("memory", "grep -E '^Mem(Total|Available):' /proc/meminfo"),
    (
        "ports",
        "grep -H . /sys/class/infiniband/*/ports/1/state /sys/class/infiniband/*/ports/1/gids/* \
         | grep -v ':0000:0000:0000:0000:0000:0000:0000:0000$'",
    ),
    (
        "battery",
        "grep -H . /sys/class/power_supply/*/type /sys/class/power_supply/*/online \
         /sys/class/power_supply/*/status /sys/class/power_supply/*/capacity 2>/dev/null; true",
    ),
    (
        "settings",
        "! [ -e /sys/firmware/acpi/platform_profile ] || cat /sys/firmware/acpi/platform_profile",
    ),
    (
        "heat",
        "grep -H . /sys/class/thermal/thermal_zone*/temp 2>/dev/null; true",
    ),
    ("holders", HOLDERS),
];

/// The script that asks a node. It expects the tools of sbin in the path, and the C locale.
pub fn script(request: &Request) -> String {
    let mut script = ASK.to_owned();
    script += &format!("stage={}\n", folder(request.stage.unwrap_or(Path::new(""))));
    ask(&mut script, "clock", CLOCK);
    for (name, command) in COMMON {
        ask(&mut script, name, command);
    }
    script += "case $(uname -s) in\n";
    for (system, uname, own) in [
        (System::MacOs, "Darwin", &MACOS[..]),
        (System::Linux, "Linux", &LINUX[..]),
    ] {
        script += &format!("{uname})\n");
        for (name, command) in own {
            ask(&mut script, name, command);
        }
        for report in system.reports() {
            ask(&mut script, report.file(), report.command());
        }
        script += ";;\n";
    }
    script += "esac\n";
    if let Some(model) = request.model {
        script += &format!("model={}\n", folder(model));
        ask(&mut script, "files", MODEL);
    }
    ask(&mut script, "clock-after", CLOCK);
    script
}

fn ask(script: &mut String, name: &str, command: &str) {
    *script += &format!("ask {name} {}\n", quoted(command));
}

/// A folder as a word of the shell: absolute, or below the home.
fn folder(path: &Path) -> String {
    let text = path.to_string_lossy();
    let below = text.strip_prefix("~/").unwrap_or(&text);
    match (path.is_absolute(), below) {
        (true, _) => quoted(&text),
        (false, "" | "~") => "${HOME:-/}".to_owned(),
        (false, below) => format!("${{HOME:-}}/{}", quoted(below)),
    }
}

/// A word of the shell. A text with a NUL, which no path and no command has, ends there.
fn quoted(text: &str) -> String {
    let text = text.split('\0').next().unwrap_or_default();
    shlex::try_quote(text).unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_word_wherever_it_is() {
        let word = |text: &str| folder(Path::new(text));
        assert_eq!(word("/srv/a b"), "'/srv/a b'");
        assert_eq!(word("it's"), "${HOME:-}/\"it's\"");
        assert_eq!(word("~/models/x"), "${HOME:-}/models/x");
        assert_eq!(word("~"), "${HOME:-/}");
        assert_eq!(word(""), "${HOME:-/}");
    }
}

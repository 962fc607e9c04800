//! The script of the shell that asks a node.

use std::{path::Path, time::Duration};

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

/// Seconds that one tool may take. `system_profiler` takes some.
const TOOL_LIMIT: u32 = 15;

/// Seconds that hashing a model may take: a hundred files on a slow disk.
const MODEL_LIMIT: u32 = 300;

/// What the script may take beside the model. Tools that hang are ended one by one, unless
/// there is no perl or the system cannot end them, as when a driver does not answer.
const LIMIT: Duration = Duration::from_secs(60);

/// The exit code of a tool that was ended, as that of GNU `timeout`, which macOS lacks.
pub(crate) const HUNG: &str = "124";

impl Request<'_> {
    /// How long the script may take, from the connection to its end.
    pub fn limit(&self) -> Duration {
        let model = self.model.map_or(0, |_| MODEL_LIMIT);
        LIMIT + Duration::from_secs(model.into())
    }
}

/// `limited SECONDS COMMAND` runs a command in a shell of its own, with all that it starts in
/// one group, which is ended when its time is up, or when this shell's group is.
///
/// `ask NAME SECONDS COMMAND` runs it so, and prints `>NAME`, the lines of its stdout after
/// `|`, `<CODE`, and the lines of its stderr after `!`. It needs no temporary file.
const ASK: &str = r#"exec 3>&1
limited() {
    command -v perl >/dev/null || { sh -c "$2"; return; }
    perl -e '
        my ($seconds, $command) = @ARGV;
        defined(my $tool = fork) or die "cannot fork: $!\n";
        if (!$tool) { setpgrp; exec "sh", "-c", $command }
        my $end = sub { kill "KILL", -$tool; exit 124 };
        $SIG{$_} = $end for qw(HUP INT TERM);
        $SIG{ALRM} = sub { print STDERR "it did not end within $seconds s\n"; $end->() };
        alarm $seconds;
        waitpid $tool, 0;
        exit($? & 127 ? 128 + ($? & 127) : $? >> 8)
    ' "$1" "$2"
}
ask() {
    printf ">%s\n" "$1"
    said=$({
        out=$(limited "$2" "$3" 3>&-)
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

/// `SIZE SHA256 NAME` of each file that makes a model. Of weights, the first and the last MiB
/// are hashed, and 15 places between them.
const MODEL: &str = r#"cd "$model" && {
    if command -v sha256sum >/dev/null; then sum() { sha256sum; }; else sum() { shasum -a 256; }; fi
    for file in *.json *.jinja *.model *.safetensors; do
        [ -f "$file" ] || continue
        size=$(($(wc -c < "$file")))
        case $file in
        *.safetensors)
            hash=$({
                head -c 1048576 "$file"
                for place in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
                    dd if="$file" bs=65536 skip=$((size / 65536 * place / 16)) count=1 2>/dev/null
                done
                tail -c 1048576 "$file"
            } | sum) ;;
        *) hash=$(sum < "$file") ;;
        esac
        echo "$size ${hash%% *} $file"
    done
}"#;

const UNAME: (&str, &str) = ("uname", "uname -sm");

/// What a run can change.
const STATE: [&str; 3] = ["battery", "settings", "heat"];

/// On every system.
const COMMON: [(&str, &str); 4] = [
    UNAME,
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
    let stage = folder(request.stage.unwrap_or(Path::new("")));
    script += &format!("stage={stage}; export stage\n");
    ask(&mut script, "clock", CLOCK);
    for (name, command) in COMMON {
        ask(&mut script, name, command);
    }
    ask_system(&mut script, |_| true);
    if let Some(model) = request.model {
        ask_model(&mut script, model);
    }
    ask(&mut script, "clock-after", CLOCK);
    script
}

/// The script that asks for what a run can change: power and heat. [`after`](crate::after)
/// reads what it prints.
pub fn state_script() -> String {
    let mut script = ASK.to_owned();
    let (name, command) = UNAME;
    ask(&mut script, name, command);
    ask_system(&mut script, |name| STATE.contains(&name));
    script
}

/// Asks for what the node's own system has of these.
fn ask_system(script: &mut String, is_wanted: impl Fn(&str) -> bool) {
    *script += "case $(uname -s) in\n";
    for (system, uname, own) in [
        (System::MacOs, "Darwin", &MACOS[..]),
        (System::Linux, "Linux", &LINUX[..]),
    ] {
        *script += &format!("{uname})\n");
        let reports = system.reports();
        let reports = reports.map(|report| (report.file(), report.command()));
        for (name, command) in own.iter().copied().chain(reports) {
            if is_wanted(name) {
                ask(script, name, command);
            }
        }
        *script += ";;\n";
    }
    *script += "esac\n";
}

/// The script that asks for the files of a model alone; [`model`](crate::model) reads what it
/// prints.
pub fn model_script(folder: &Path) -> String {
    let mut script = ASK.to_owned();
    ask_model(&mut script, folder);
    script
}

fn ask_model(script: &mut String, model: &Path) {
    *script += &format!("model={}; export model\n", folder(model));
    *script += &format!("ask files {MODEL_LIMIT} {}\n", quoted(MODEL));
}

fn ask(script: &mut String, name: &str, command: &str) {
    *script += &format!("ask {name} {TOOL_LIMIT} {}\n", quoted(command));
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

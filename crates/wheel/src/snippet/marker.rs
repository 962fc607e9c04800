//! Environment markers: on which machines an entry applies.
//!
//! Only what tells machines apart is evaluated, on the machines that exist; all else (the
//! version of Python, extras) may hold or not
//! ([specification](https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers)).

use std::fmt;

use serde::{Serialize, Serializer};

/// The machines that a wheel runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Linux with this processor, as `uname -m` has it.
    Linux(String),
    /// Macs. MLX has no wheels for those with another processor than Apple's.
    MacOs,
}

impl Place {
    /// Reads the platform tags of a wheel; `None` when they are of several places or of none.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let mut places = tag.split('.').map(Self::of_one);
        let first = places.next()??;
        places
            .all(|it| it.as_ref() == Some(&first))
            .then_some(first)
    }

    fn of_one(tag: &str) -> Option<Self> {
        let (system, rest) = tag.split_once('_')?;
        let processor = match system {
            "macosx" => return Some(Place::MacOs),
            // manylinux_2_35_x86_64: glibc's version comes first.
            "manylinux" | "musllinux" => rest.splitn(3, '_').nth(2)?,
            "linux" => rest,
            old if old.starts_with("manylinux") => rest,
            _ => return None,
        };
        Some(Place::Linux(processor.to_owned()))
    }

    /// The marker that holds there and nowhere else.
    pub fn marker(&self) -> String {
        match self {
            Place::MacOs => "sys_platform == 'darwin'".into(),
            Place::Linux(processor) => {
                format!("sys_platform == 'linux' and platform_machine == '{processor}'")
            }
        }
    }

    fn has(&self, machine: &Machine) -> bool {
        match self {
            Place::MacOs => machine.sys_platform == "darwin",
            Place::Linux(processor) => {
                machine.sys_platform == "linux" && machine.processor == processor
            }
        }
    }

    /// How the machines of a marker lie to these. No marker is all of them.
    pub(super) fn against(&self, marker: Option<&str>) -> Overlap {
        let others = MACHINES.iter().copied();
        let own = match self {
            Place::Linux(processor) => Some(Machine::linux(processor)),
            Place::MacOs => None,
        };
        let (mut here, mut elsewhere) = (false, false);
        for machine in others.chain(own) {
            let may_hold = marker.is_none_or(|it| holds(it, &machine) != Truth::No);
            if may_hold && self.has(&machine) {
                here = true;
            } else if may_hold {
                elsewhere = true;
            }
        }
        match (here, elsewhere) {
            (false, _) => Overlap::None,
            (true, false) => Overlap::Within,
            (true, true) => Overlap::Beyond,
        }
    }

    /// A marker that holds where this one does, but not here.
    pub(super) fn taken_from(&self, marker: Option<&str>) -> String {
        let only_linux = |it: &str| {
            let holds = |machine: &&Machine| holds(it, machine) != Truth::No;
            (MACHINES.iter().filter(holds)).all(|machine| machine.sys_platform == "linux")
        };
        let rest = match self {
            Place::MacOs => "sys_platform != 'darwin'".to_owned(),
            Place::Linux(processor) if marker.is_some_and(only_linux) => {
                format!("platform_machine != '{processor}'")
            }
            Place::Linux(processor) => {
                format!("(sys_platform != 'linux' or platform_machine != '{processor}')")
            }
        };
        match marker {
            None => rest.trim_matches(['(', ')']).to_owned(),
            Some(marker) if tokens(marker).contains(&Token::Word("or")) => {
                format!("({marker}) and {rest}")
            }
            Some(marker) => format!("{marker} and {rest}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::MacOs => f.write_str("macOS"),
            Place::Linux(processor) => write!(f, "Linux on {processor}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.marker())
    }
}

/// How the machines of a marker lie to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// None is there.
    None,
    /// All are there.
    Within,
    /// Some are there, and others are not.
    Beyond,
}

/// A kind of machine, by what markers can ask of it.
#[derive(Debug, Clone, Copy)]
struct Machine<'a> {
    sys_platform: &'a str,
    platform_system: &'a str,
    os_name: &'a str,
    processor: &'a str,
}

impl<'a> Machine<'a> {
    const fn linux(processor: &'a str) -> Self {
        Machine {
            sys_platform: "linux",
            platform_system: "Linux",
            os_name: "posix",
            processor,
        }
    }

    const fn mac(processor: &'a str) -> Self {
        Machine {
            sys_platform: "darwin",
            platform_system: "Darwin",
            os_name: "posix",
            processor,
        }
    }

    const fn windows(processor: &'a str) -> Self {
        Machine {
            sys_platform: "win32",
            platform_system: "Windows",
            os_name: "nt",
            processor,
        }
    }

    fn value(&self, variable: &str) -> Option<&'a str> {
        Some(match variable {
            "sys_platform" => self.sys_platform,
            "platform_system" => self.platform_system,
            "os_name" => self.os_name,
            "platform_machine" => self.processor,
            _ => return None,
        })
    }
}

const MACHINES: [Machine<'static>; 8] = [
    Machine::mac("arm64"),
    Machine::mac("x86_64"),
    Machine::linux("x86_64"),
    Machine::linux("aarch64"),
    Machine::linux("riscv64"),
    Machine::windows("AMD64"),
    Machine::windows("ARM64"),
    Machine {
        sys_platform: "freebsd14",
        platform_system: "FreeBSD",
        os_name: "posix",
        processor: "amd64",
    },
];

/// Ordered so that `and` is the lesser of two and `or` the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    Maybe,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Text(&'a str),
    Sign(&'a str),
}

/// What a marker says of a machine. One that cannot be read may hold.
fn holds(marker: &str, machine: &Machine<'_>) -> Truth {
    let tokens = tokens(marker);
    let mut reader = Reader {
        left: &tokens,
        machine,
    };
    match reader.either() {
        Some(truth) if reader.left.is_empty() => truth,
        _ => Truth::Maybe,
    }
}

fn tokens(marker: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut left = marker.trim_start();
    while let Some(first) = left.chars().next() {
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let (token, rest) = if let '\'' | '"' = first {
            let inner = &left[1..];
            let end = inner.find(first).unwrap_or(inner.len());
            (
                Token::Text(&inner[..end]),
                inner.get(end + 1..).unwrap_or(""),
            )
        } else if let '(' | ')' = first {
            (Token::Sign(&left[..1]), &left[1..])
        } else {
            let is_word = is_of_word(first);
            let is_of_it =
                |c: char| is_of_word(c) == is_word && !c.is_whitespace() && !"()'\"".contains(c);
            let end = left.find(|c| !is_of_it(c)).unwrap_or(left.len());
            let (token, rest) = left.split_at(end.max(first.len_utf8()));
            let token = if is_word {
                Token::Word(token)
            } else {
                Token::Sign(token)
            };
            (token, rest)
        };
        tokens.push(token);
        left = rest.trim_start();
    }
    tokens
}

struct Reader<'a> {
    left: &'a [Token<'a>],
    machine: &'a Machine<'a>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(*first)
    }

    fn takes(&mut self, token: Token<'_>) -> bool {
        let is_it = self.left.first() == Some(&token);
        if is_it {
            self.left = &self.left[1..];
        }
        is_it
    }

    fn either(&mut self) -> Option<Truth> {
        let mut truth = self.both()?;
        while self.takes(Token::Word("or")) {
            truth = truth.max(self.both()?);
        }
        Some(truth)
    }

    fn both(&mut self) -> Option<Truth> {
        let mut truth = self.one()?;
        while self.takes(Token::Word("and")) {
            truth = truth.min(self.one()?);
        }
        Some(truth)
    }

    fn one(&mut self) -> Option<Truth> {
        if self.takes(Token::Sign("(")) {
            let truth = self.either()?;
            return self.takes(Token::Sign(")")).then_some(truth);
        }
        let left = self.next()?;
        let operator = match self.next()? {
            Token::Sign(sign) => sign,
            Token::Word("in") => "in",
            Token::Word("not") if self.takes(Token::Word("in")) => "not in",
            _ => return None,
        };
        let right = self.next()?;
        Some(self.compare(left, operator, right))
    }

    fn compare(&self, left: Token<'_>, operator: &str, right: Token<'_>) -> Truth {
        let value = |token| match token {
            Token::Text(text) => Some(text),
            Token::Word(variable) => self.machine.value(variable),
            Token::Sign(_) => None,
        };
        let (Some(left), Some(right)) = (value(left), value(right)) else {
            return Truth::Maybe;
        };
        let is_so = match operator {
            "==" | "===" => left == right,
            "!=" => left != right,
            "in" => right.contains(left),
            "not in" => !right.contains(left),
            _ => return Truth::Maybe,
        };
        if is_so { Truth::Yes } else { Truth::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux() -> Place {
        Place::Linux("x86_64".into())
    }

    #[test]
    fn places_are_read_from_tags() {
        for (tag, place) in [
            ("macosx_26_0_arm64", Some(Place::MacOs)),
            ("manylinux_2_35_x86_64", Some(linux())),
            (
                "manylinux2014_aarch64",
                Some(Place::Linux("aarch64".into())),
            ),
            ("manylinux2014_x86_64.manylinux_2_17_x86_64", Some(linux())),
            ("linux_x86_64", Some(linux())),
            ("manylinux_2_35_x86_64.macosx_26_0_arm64", None),
            ("win_amd64", None),
            ("any", None),
        ] {
            assert_eq!(Place::of_tag(tag), place, "{tag}");
        }
    }

    #[test]
    fn markers_are_compared_by_the_machines_they_mean() {
        let mac = Place::MacOs;
        for (marker, to_mac, to_linux) in [
            ("sys_platform == 'darwin'", Overlap::Within, Overlap::None),
            ("'darwin' == sys_platform", Overlap::Within, Overlap::None),
            (
                "platform_system==\"Darwin\"",
                Overlap::Within,
                Overlap::None,
            ),
            (
                "sys_platform == 'darwin' and python_version >= '3.13'",
                Overlap::Within,
                Overlap::None,
            ),
            ("sys_platform != 'win32'", Overlap::Beyond, Overlap::Beyond),
            ("sys_platform == 'linux'", Overlap::None, Overlap::Beyond),
            (
                "sys_platform == 'linux' and platform_machine in 'x86_64 AMD64'",
                Overlap::None,
                Overlap::Within,
            ),
            (
                "(sys_platform == 'linux' or sys_platform == 'darwin') and os_name == 'nt'",
                Overlap::None,
                Overlap::None,
            ),
            (
                "sys_platform not in 'darwin linux'",
                Overlap::None,
                Overlap::None,
            ),
            ("extra == 'cuda'", Overlap::Beyond, Overlap::Beyond),
            ("no marker at all", Overlap::Beyond, Overlap::Beyond),
        ] {
            assert_eq!(mac.against(Some(marker)), to_mac, "{marker}");
            assert_eq!(linux().against(Some(marker)), to_linux, "{marker}");
        }
        assert_eq!(mac.against(None), Overlap::Beyond);
        for place in [mac, linux(), Place::Linux("ppc64le".into())] {
            assert_eq!(place.against(Some(&place.marker())), Overlap::Within);
        }
    }

    #[test]
    fn what_is_taken_away_leaves_the_rest() {
        for (place, marker, left) in [
            (Place::MacOs, None, "sys_platform != 'darwin'"),
            (
                linux(),
                None,
                "sys_platform != 'linux' or platform_machine != 'x86_64'",
            ),
            (
                linux(),
                Some("sys_platform == 'linux'"),
                "sys_platform == 'linux' and platform_machine != 'x86_64'",
            ),
            (
                Place::MacOs,
                Some("os_name == 'nt' or os_name == 'posix'"),
                "(os_name == 'nt' or os_name == 'posix') and sys_platform != 'darwin'",
            ),
        ] {
            let rest = place.taken_from(marker);
            assert_eq!(rest, left);
            assert_eq!(place.against(Some(&rest)), Overlap::None, "{rest}");
        }
    }
}

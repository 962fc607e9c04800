//! What each field of a patch must say.

use std::str::FromStr;

use pins::{Part, Pin};
use semver::Version;

use crate::{
    gain::{self, Gain},
    header::{Field, Header, canonical},
    patch::{CLASS, Class},
    proof::{self, Checks, Proof},
};

/// DEP-3 fields that every patch must carry, and what they say.
pub(crate) const REQUIRED: [(&str, &str); 7] = [
    (
        "Description",
        "what it does on the first line, then why on lines that start with a space",
    ),
    (
        "Origin",
        "upstream, backport, vendor or other, a comma, and a reference",
    ),
    ("Bug", "where the defect is described"),
    ("Forwarded", "the URL it was sent to, `no`, or `not-needed`"),
    (
        "Applied-Upstream",
        "the first version that has it and a URL or a commit, `0.32.0, https://...` or \
         `0.32.0, commit:ID`, or `no`",
    ),
    ("Last-Update", "the day, YYYY-MM-DD"),
    (CLASS, "`portability`, `fix` or `performance`"),
];

/// Further fields that a patch may carry, and what they say.
const OPTIONAL: [(&str, &str); 5] = [
    (proof::FIELD, proof::FORM),
    (gain::FIELD, gain::FORM),
    ("Author", PERSON),
    ("Reviewed-by", PERSON),
    ("Acked-by", PERSON),
];

const PERSON: &str = "`Name <address>`";

/// What the name of a field may start with: DEP-3's bug of a vendor, `Bug-Debian`.
const BUG_OF_A_VENDOR: &str = "Bug-";

/// A line of a head that will not do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) line: Option<usize>,
    pub(crate) field: Option<String>,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// Everything that is wrong with the fields of a patch of a pin.
pub(crate) fn complaints(header: &Header, pin: &Pin, checks: Checks<'_>) -> Vec<Complaint> {
    // The versions in the fields of mlx-c's patches are mlx-c's own.
    let version = (pin.part == Part::Mlx).then_some(pin.version.as_str());
    let mut found = Vec::new();
    for (name, meaning) in REQUIRED {
        if header.field(name).is_none() {
            found.push(Complaint {
                line: None,
                field: Some(name.to_owned()),
                problem: "is missing".into(),
                remedy: format!("say {meaning}"),
            });
        }
    }
    for &line in &header.stray {
        found.push(Complaint {
            line: Some(line),
            field: None,
            problem: "is neither a field nor continues one".into(),
            remedy: "write `Name: value`, or start the line with a space".into(),
        });
    }
    for (at, field) in header.fields.iter().enumerate() {
        let (line, problem, remedy) = match complaint(field, version) {
            _ if stands_above(&header.fields[..at], &field.name) => (
                field.line,
                "stands here a second time".into(),
                "join the two".into(),
            ),
            Some((problem, remedy)) => (field.line, problem, remedy),
            None => continue,
        };
        found.push(Complaint {
            line: Some(line),
            field: Some(field.name.clone()),
            problem,
            remedy,
        });
    }
    if let Ok(class) = header.get(CLASS).parse() {
        found.extend(of_class(header, class, pin.part, checks));
    }
    found
}

/// What a patch of its class says that it must not, or does not say.
fn of_class(header: &Header, class: Class, part: Part, checks: Checks<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut misplaced = |name: &str, problem: &str, remedy: &str| {
        if let Some(field) = header.field(name) {
            found.push(Complaint {
                line: Some(field.line),
                field: Some(name.to_owned()),
                problem: problem.to_owned(),
                remedy: remedy.to_owned(),
            });
        }
    };
    match (class, part) {
        (Class::Performance, Part::MlxC) => misplaced(
            CLASS,
            "says performance, and all patches of mlx-c are in every build",
            "say `portability` or `fix`",
        ),
        (Class::Performance, Part::Mlx) => misplaced(
            proof::FIELD,
            "is a fix's, and this is a performance patch",
            "let a patch of its own mend the defect, and say here with X-Gain what is gained",
        ),
        (Class::Portability | Class::Fix, _) => misplaced(
            gain::FIELD,
            "is a performance patch's",
            "remove it, or say `X-Class: performance`",
        ),
    }
    // `verify` runs jaccl alone, so it can prove nothing about mlx-c.
    found.extend(match (class, part) {
        (Class::Fix, Part::Mlx) => {
            let read = |line: &str| Proof::checked(line, checks.proof).map(drop);
            unproved(header, class, (proof::FIELD, proof::FORM), read)
        }
        (Class::Performance, Part::Mlx) => {
            let read = |line: &str| Gain::checked(line, checks.gain).map(drop);
            unproved(header, class, (gain::FIELD, gain::FORM), read)
        }
        (Class::Portability, _) | (_, Part::MlxC) => Vec::new(),
    });
    found
}

/// Whether a field that may stand only once is among these. Several people may review
/// a patch.
fn stands_above(above: &[Field], name: &str) -> bool {
    !["Reviewed-by", "Acked-by"].contains(&name)
        && above
            .iter()
            .any(|field| canonical(&field.name) == canonical(name))
}

/// What is wrong with one field by itself, and what to say instead.
fn complaint(field: &Field, version: Option<&str>) -> Option<(String, String)> {
    let value = &field.value;
    let name = canonical(&field.name);
    let is_vendors = name
        .strip_prefix(BUG_OF_A_VENDOR)
        .is_some_and(|vendor| !vendor.is_empty());
    let mut all = REQUIRED.iter().chain(&OPTIONAL);
    let meaning = match all.clone().find(|(known, _)| *known == name) {
        Some((_, meaning)) => meaning,
        None if is_vendors => "the URL of the vendor's bug",
        None => {
            let known: Vec<_> = all.by_ref().map(|(known, _)| *known).collect();
            return Some((
                "is no field of a patch".into(),
                format!("there are {}", known.join(", ")),
            ));
        }
    };
    let say = format!("say {meaning}");
    if value.is_empty() {
        return Some(("is empty".into(), say));
    }
    if value.contains("TODO") {
        return Some(("is still to be filled in".into(), say));
    }
    let fits = match name {
        _ if is_vendors => is_url(value),
        "Description" => value.lines().nth(1).is_some(),
        "Origin" => is_origin(value),
        "Forwarded" => ["no", "not-needed"].contains(&value.as_str()) || is_url(value),
        "Applied-Upstream" => value == "no" || applied(value).is_some(),
        "Last-Update" => is_day(value),
        CLASS => Class::from_str(value).is_ok(),
        _ => true,
    };
    if !fits {
        return Some((
            format!("says {:?}", value.lines().next().unwrap_or("")),
            say,
        ));
    }
    let since = (name == "Applied-Upstream")
        .then(|| applied(value))
        .flatten();
    since
        .zip(version)
        .filter(|(since, version)| pins::version(version).is_ok_and(|version| *since <= version))
        .map(|(since, version)| {
            (
                format!("says that MLX {since} has it, and this is {version}"),
                "drop the patch, or name the version that has it".into(),
            )
        })
}

/// The lines of the field that proves a patch that are no proof, or their absence.
fn unproved(
    header: &Header,
    class: Class,
    (field, form): (&str, &str),
    read: impl Fn(&str) -> Result<(), String>,
) -> Vec<Complaint> {
    let complain = |line, problem| Complaint {
        line,
        field: Some(field.to_owned()),
        problem,
        remedy: format!("write one line a proof: {form}"),
    };
    if header.field(field).is_none() {
        let problem = format!("is missing, and a {} has to prove itself", class.noun());
        return vec![complain(None, problem)];
    }
    header
        .lines(field)
        .filter(|(_, line)| !line.is_empty() && !line.contains("TODO"))
        .filter_map(|(number, line)| Some(complain(Some(number), read(line).err()?)))
        .collect()
}

fn is_origin(value: &str) -> bool {
    value.split_once(", ").is_some_and(|(kind, reference)| {
        ["upstream", "backport", "vendor", "other"].contains(&kind) && !reference.is_empty()
    })
}

fn is_url(value: &str) -> bool {
    let rest = value
        .strip_prefix("https://")
        .or_else(|| value.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

/// The version in an `Applied-Upstream` that is not `no`. `1.2` is 1.2.0.
pub(crate) fn applied(value: &str) -> Option<Version> {
    let (since, reference) = value.split_once(',')?;
    let missing = 2_usize.saturating_sub(since.matches('.').count());
    let since = pins::version(&format!("{since}{}", ".0".repeat(missing))).ok()?;
    let reference = reference.trim();
    let is_commit = reference.strip_prefix("commit:").is_some_and(|id| {
        (7..=40).contains(&id.len()) && id.chars().all(|c| c.is_ascii_hexdigit())
    });
    (is_commit || is_url(reference)).then_some(since)
}

fn is_day(value: &str) -> bool {
    let day = jiff::civil::Date::from_str(value);
    day.is_ok_and(|day| day.to_string() == value)
}

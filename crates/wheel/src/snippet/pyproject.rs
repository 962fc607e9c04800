//! The entries of a snippet in a `pyproject.toml`, of which every other byte stays.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;
use toml_edit::{Array, Decor, Document, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{
    Pinned, Snippet, Tool,
    error::{Result, SnippetError},
    marker::{Overlap, Place},
    normal,
};
use crate::{FileName, error::IoContext, overlay::is_ours};

/// Where uv reads that something is demanded of a package that others require.
const CONSTRAINTS: &str = "constraint-dependencies";

/// A `pyproject.toml` as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pyproject {
    /// The file itself, where a link leads.
    path: PathBuf,
    text: String,
}

/// What a snippet makes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The whole text.
    pub text: String,
    /// What is different; nothing when the file has all of it already.
    pub changes: Vec<Change>,
}

/// One entry that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which, as a path of keys.
    pub key: String,
    /// What happened to it.
    pub deed: Deed,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub after: String,
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is new.
    Added,
    /// It took the place of one that applied to no other machines.
    Replaced,
    /// It applies to other machines too, and stays for these.
    Narrowed,
}

impl Pyproject {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no text.
    pub fn read(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path).at("read", path)?;
        let text = fs::read(&path).at("read", &path)?;
        let text = String::from_utf8(text).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            SnippetError::at(&path, &text, valid, "is no UTF-8 from here on")
        })?;
        Ok(Pyproject { path, text })
    }

    /// A text that lies, or will lie, at a path.
    pub fn of(path: &Path, text: &str) -> Self {
        Pyproject {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the entries of `snippet` for `tool`.
    ///
    /// An entry of the same distribution is replaced if it is for the same machines. One
    /// that is for others too stays for these. Done twice, the second time changes nothing.
    ///
    /// # Errors
    /// When the file is damaged, is read by no uv, or has something else where the entries
    /// go; when `tool` reads no such file.
    pub fn with(&self, snippet: &Snippet, tool: Tool) -> Result<Applied> {
        tool.reads_pyproject()?;
        if tool == Tool::Exo {
            snippet.refuse_for_exo()?;
        }
        // toml_edit writes LF alone and begins with no mark of byte order.
        let plain = self
            .text
            .trim_start_matches('\u{feff}')
            .replace("\r\n", "\n");
        let places = Places {
            file: &self.path,
            text: &plain,
            parsed: self.parse(&plain)?,
        };
        let document = plain.parse::<DocumentMut>();
        let mut document = document.map_err(|error| self.damaged(&plain, &error))?;
        let mut changes = Vec::new();
        if tool == Tool::Uv {
            let table = table(&mut document, &places, &["tool", "uv"])?;
            for wheel in snippet.wheels() {
                let wanted = snippet.constraint(wheel);
                changes.extend(constrain(table, &places, wheel, &wanted)?);
            }
        }
        let keys = ["tool", "uv", "sources"];
        let table = table(&mut document, &places, &keys)?;
        for wheel in snippet.wheels() {
            let entry = snippet.entry(wheel, self.path.parent());
            changes.extend(point(table, &places, wheel, entry)?);
        }
        if changes.is_empty() {
            let text = self.text.clone();
            return Ok(Applied { text, changes });
        }
        Ok(Applied {
            text: with_line_ends_of(&self.text, &document.to_string()),
            changes,
        })
    }

    fn parse<'a>(&self, text: &'a str) -> Result<Document<&'a str>> {
        let parsed = Document::parse(text).map_err(|error| self.damaged(text, &error))?;
        let is_of_uv = parsed.get("tool").and_then(|it| it.get("uv")).is_some();
        if parsed.get("project").is_none() && !is_of_uv {
            let file = self.path.clone();
            return Err(SnippetError::NoProject { file });
        }
        Ok(parsed)
    }

    fn damaged(&self, text: &str, error: &toml_edit::TomlError) -> SnippetError {
        let offset = error.span().map_or(0, |span| span.start);
        let problem = error.message().lines().next().unwrap_or_default();
        SnippetError::at(&self.path, text, offset, format!("is no TOML ({problem})"))
    }

    /// Gives the file another text. It appears by rename, with the rights of the old one.
    ///
    /// # Errors
    /// When the folder or the file cannot be written; the old text is still there then.
    pub fn write(&self, text: &str) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let rights = fs::metadata(&self.path)
            .at("read", &self.path)?
            .permissions();
        let mut new = tempfile::Builder::new()
            .prefix(".pyproject-")
            .tempfile_in(folder)
            .at("create a file in", folder)?;
        new.write_all(text.as_bytes()).at("write", new.path())?;
        fs::set_permissions(new.path(), rights).at("change the mode of", new.path())?;
        let renamed = new.persist(&self.path).map_err(|it| it.error);
        renamed
            .map(drop)
            .map_err(SnippetError::io("replace", &self.path))
    }
}

/// Where in the file everything is.
struct Places<'a> {
    file: &'a Path,
    text: &'a str,
    parsed: Document<&'a str>,
}

impl Places<'_> {
    /// That something else stands at `keys` than uv reads there.
    fn wrong(&self, keys: &[&str], problem: &str) -> SnippetError {
        let mut item = Some(self.parsed.as_item());
        for key in keys {
            item = item.and_then(|it| it.get(key));
        }
        let start = item.and_then(Item::span).map_or(0, |span| span.start);
        let problem = format!("{} is {problem}", keys.join("."));
        SnippetError::at(self.file, self.text, start, problem)
    }
}

/// The table at `keys`, made where there is none.
fn table<'a>(
    document: &'a mut DocumentMut,
    places: &Places<'_>,
    keys: &[&str],
) -> Result<&'a mut dyn TableLike> {
    let mut item = document.as_item_mut();
    for (depth, key) in keys.iter().enumerate() {
        let (is_inline, is_last) = (item.is_value(), depth + 1 == keys.len());
        let wrong = || places.wrong(&keys[..depth], "no table");
        let table = item.as_table_like_mut().ok_or_else(wrong)?;
        if !table.contains_key(key) {
            let new = if is_inline {
                Item::Value(InlineTable::new().into())
            } else {
                let mut new = Table::new();
                // A header that only leads to others is not written.
                new.set_implicit(!is_last);
                new.decor_mut().set_prefix("\n");
                Item::Table(new)
            };
            table.insert(key, new);
        }
        let wrong = || places.wrong(&keys[..=depth], "no table");
        item = table.get_mut(key).ok_or_else(wrong)?;
    }
    let wrong = || places.wrong(keys, "no table");
    item.as_table_like_mut().ok_or_else(wrong)
}

/// Sees to it that `wanted` is among the constraints, in the place of one of ours for the
/// same machines. What others demand of the distribution stays.
fn constrain(
    uv: &mut dyn TableLike,
    places: &Places<'_>,
    wheel: &Pinned,
    wanted: &str,
) -> Result<Vec<Change>> {
    let key = format!("tool.uv.{CONSTRAINTS}");
    let wrong = || places.wrong(&["tool", "uv", CONSTRAINTS], "no list of strings");
    if !uv.contains_key(CONSTRAINTS) {
        uv.insert(CONSTRAINTS, Item::Value(Array::new().into()));
    }
    let list = uv.get_mut(CONSTRAINTS).and_then(Item::as_array_mut);
    let list = list.ok_or_else(wrong)?;
    let mut change = Change {
        key,
        deed: Deed::Added,
        before: None,
        after: wanted.to_owned(),
    };
    for index in 0..list.len() {
        let text = list.get(index).and_then(Value::as_str).ok_or_else(wrong)?;
        if text == wanted {
            return Ok(Vec::new());
        }
        if is_one_of_ours(text, wheel) {
            change.deed = Deed::Replaced;
            change.before = Some(text.to_owned());
            replace(list, index, wanted.into());
            return Ok(vec![change]);
        }
    }
    push(list, wanted.into());
    Ok(vec![change])
}

/// Whether a requirement pins another wheel of ours for the distribution and the machines.
fn is_one_of_ours(requirement: &str, wheel: &Pinned) -> bool {
    let (what, marker) = match requirement.split_once(';') {
        Some((what, marker)) => (what, Some(marker)),
        None => (requirement, None),
    };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = what.find(|c| !is_of_name(c)).unwrap_or(what.len());
    let (name, rest) = what.split_at(end);
    let is_ours = match rest.split_once('@') {
        Some((_, url)) => {
            let file = url.trim().split('#').next().unwrap_or_default();
            is_file_of_ours(file)
        }
        None => (rest.trim().strip_prefix("=="))
            .and_then(|version| version.trim().parse().ok())
            .is_some_and(|version| is_ours(&version)),
    };
    is_ours && normal(name) == wheel.distribution && wheel.place.against(marker) == Overlap::Within
}

/// Whether a path or an address is that of a wheel of ours.
fn is_file_of_ours(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    let name = FileName::parse(&name.replace("%2B", "+").replace("%2b", "+"));
    name.is_some_and(|it| is_ours(&it.version))
}

/// Sees to it that the sources of a wheel's distribution have `wanted` for its machines.
fn point(
    sources: &mut dyn TableLike,
    places: &Places<'_>,
    wheel: &Pinned,
    wanted: InlineTable,
) -> Result<Vec<Change>> {
    // As the file spells it.
    let key = (sources.iter().map(|(key, _)| key))
        .find(|key| normal(key) == wheel.distribution)
        .unwrap_or(&wheel.distribution)
        .to_owned();
    let change = |deed, before: Option<&InlineTable>, after: &InlineTable| Change {
        key: format!("tool.uv.sources.{key}"),
        deed,
        before: before.map(shown),
        after: shown(after),
    };
    if !sources.contains_key(&key) {
        let change = change(Deed::Added, None, &wanted);
        sources.insert(&key, Item::Value(wanted.into()));
        return Ok(vec![change]);
    }

    let wrong = || {
        let keys = ["tool", "uv", "sources", &key];
        places.wrong(&keys, "neither a source nor a list of sources")
    };
    let item = sources.get_mut(&key).ok_or_else(wrong)?;
    if !item.is_value() {
        // A table, or a list of tables: `[tool.uv.sources.mlx]`.
        item.make_value();
    }
    let value = item.as_value_mut().ok_or_else(wrong)?;
    let entries: Option<Vec<InlineTable>> = match &*value {
        Value::InlineTable(entry) => Some(vec![entry.clone()]),
        Value::Array(list) => (list.iter())
            .map(|it| it.as_inline_table().cloned())
            .collect(),
        _ => None,
    };
    let entries = entries.ok_or_else(wrong)?;
    let mut changes = Vec::new();
    let mut is_placed = false;
    let mut fates = Vec::new();
    for entry in &entries {
        let marker = entry.get("marker").and_then(Value::as_str);
        fates.push(match wheel.place.against(marker) {
            Overlap::None => Fate::Stays,
            Overlap::Within if !is_placed && same(entry, &wanted) => {
                is_placed = true;
                Fate::Stays
            }
            Overlap::Within => {
                changes.push(change(Deed::Replaced, Some(entry), &wanted));
                match std::mem::replace(&mut is_placed, true) {
                    false => Fate::Becomes(wanted.clone()),
                    true => Fate::Goes,
                }
            }
            Overlap::Beyond => {
                let rest = narrowed(entry, &wheel.place);
                changes.push(change(Deed::Narrowed, Some(entry), &rest));
                Fate::Becomes(rest)
            }
        });
    }
    if !is_placed {
        changes.push(change(Deed::Added, None, &wanted));
    }
    if changes.is_empty() {
        return Ok(changes);
    }
    match (&mut *value, is_placed) {
        // It was one source, and is one.
        (Value::InlineTable(entry), true) => {
            let decor = entry.decor().clone();
            *entry = wanted;
            *entry.decor_mut() = decor;
            return Ok(changes);
        }
        (Value::InlineTable(entry), false) => *value = list_of(entry.clone()).into(),
        _ => {}
    }
    let list = value.as_array_mut().ok_or_else(wrong)?;
    // From the end, so that the places of the others stay.
    for (index, fate) in fates.into_iter().enumerate().rev() {
        match fate {
            Fate::Stays => {}
            Fate::Becomes(entry) => replace(list, index, entry.into()),
            Fate::Goes => drop(list.remove(index)),
        }
    }
    if !is_placed {
        push(list, wanted.into());
    }
    Ok(changes)
}

/// What becomes of a source.
enum Fate {
    Stays,
    Becomes(InlineTable),
    Goes,
}

/// Whether two sources say the same, however they are written.
fn same(a: &InlineTable, b: &InlineTable) -> bool {
    let plain = |entry: &InlineTable, key: &str| {
        let value = entry.get(key)?;
        let text = value.as_str().map(|it| format!("{it:?}"));
        Some(text.unwrap_or_else(|| value.to_string().trim().to_owned()))
    };
    a.len() == b.len() && a.iter().all(|(key, _)| plain(a, key) == plain(b, key))
}

/// The source for the machines that are not of `place`.
fn narrowed(entry: &InlineTable, place: &Place) -> InlineTable {
    let mut rest = entry.clone();
    let marker = place.taken_from(entry.get("marker").and_then(Value::as_str));
    match rest.get_mut("marker") {
        Some(old) => {
            let decor = old.decor().clone();
            *old = marker.into();
            *old.decor_mut() = decor;
        }
        None => {
            // What stands before the closing brace stays there.
            let last = rest.iter().last().map(|(key, _)| key.to_owned());
            let last = last.and_then(|key| rest.get_mut(&key));
            let end = last.and_then(|value| {
                let end = value.decor().suffix()?.as_str()?.to_owned();
                value.decor_mut().set_suffix("");
                Some(end)
            });
            let mut marker = Value::from(marker);
            marker.decor_mut().set_prefix(" ");
            marker.decor_mut().set_suffix(end.unwrap_or_default());
            rest.insert("marker", marker);
        }
    }
    rest
}

/// A source as people read it.
fn shown(entry: &InlineTable) -> String {
    entry.to_string().trim().to_owned()
}

/// A list of one source, a line each.
fn list_of(mut entry: InlineTable) -> Array {
    let mut list = Array::new();
    *list.decor_mut() = entry.decor().clone();
    *entry.decor_mut() = Decor::new("\n    ", "");
    list.push_formatted(entry.into());
    list.set_trailing("\n");
    list.set_trailing_comma(true);
    list
}

/// Another value in the place of one, and nothing around it changed.
fn replace(list: &mut Array, index: usize, mut value: Value) {
    if let Some(old) = list.get(index) {
        *value.decor_mut() = old.decor().clone();
        list.replace_formatted(index, value);
    }
}

/// One more value, laid out as those before it. Comments stay with these.
fn push(list: &mut Array, mut value: Value) {
    let text = |raw: Option<&toml_edit::RawString>| {
        let text = raw.and_then(|it| it.as_str());
        text.unwrap_or_default().to_owned()
    };
    let Some(last) = list.len().checked_sub(1) else {
        *value.decor_mut() = Decor::new("\n    ", "");
        list.push_formatted(value);
        list.set_trailing("\n");
        list.set_trailing_comma(true);
        return;
    };
    let has_comma = list.trailing_comma();
    let trailing = text(Some(list.trailing()));
    let Some(decor) = list.get_mut(last).map(Value::decor_mut) else {
        return;
    };
    let (before, after) = (text(decor.prefix()), text(decor.suffix()));
    // What stands before the bracket: comments on the last one, and the bracket's own line.
    let tail = if has_comma { trailing } else { after };
    let (comments, end) = tail.split_at(tail.rfind('\n').unwrap_or(0));
    let prefix = match before.rsplit_once('\n') {
        Some((_, indent)) => format!("{comments}\n{indent}"),
        None => " ".to_owned(),
    };
    if has_comma {
        *value.decor_mut() = Decor::new(prefix, "");
        list.push_formatted(value);
        list.set_trailing(end);
    } else {
        decor.set_suffix("");
        *value.decor_mut() = Decor::new(prefix, end);
        list.push_formatted(value);
    }
}

/// `new`, whose lines end in LF, with the ends of lines that `old` has: a line that is in
/// both ends as it did, and a new one ends as the first line of `old`.
fn with_line_ends_of(old: &str, new: &str) -> String {
    let mark = if old.starts_with('\u{feff}') {
        "\u{feff}"
    } else {
        ""
    };
    let old = old.trim_start_matches('\u{feff}');
    let usual = match old.find('\n') {
        Some(at) if old[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    };
    fn split(line: &str) -> (&str, &str) {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let text = match line.len() - text.len() {
            0 => text,
            _ => text.strip_suffix('\r').unwrap_or(text),
        };
        line.split_at(text.len())
    }
    let old: Vec<_> = old.split_inclusive('\n').map(split).collect();
    let new: Vec<_> = new.split_inclusive('\n').map(|it| split(it).0).collect();
    let mut text = mark.to_owned();
    for (j, (line, end)) in new.iter().zip(ends(&old, &new)).enumerate() {
        text.push_str(line);
        text.push_str(match end {
            // Only the last line of all may have no end.
            Some("") if j + 1 < new.len() => usual,
            Some(end) => end,
            None => usual,
        });
    }
    text
}

/// How each line of `new` ends in `old`, if it is one of the longest sequence of lines that
/// is in both.
fn ends<'a>(old: &[(&str, &'a str)], new: &[&str]) -> Vec<Option<&'a str>> {
    let is_same = |(old, new): &(&(&str, &str), &&str)| old.0 == **new;
    let before = old.iter().zip(new).take_while(is_same).count();
    let mut ends: Vec<_> = old[..before].iter().map(|line| Some(line.1)).collect();
    let (old, new) = (&old[before..], &new[before..]);
    let after = (old.iter().rev().zip(new.iter().rev()))
        .take_while(is_same)
        .count();
    let (old, end) = old.split_at(old.len() - after);
    let new = &new[..new.len() - after];

    // `common[i][j]` is the length of that sequence in what begins at these lines.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i].0 == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let mut i = 0;
    for (j, line) in new.iter().enumerate() {
        while i < old.len() && old[i].0 != *line && common[i + 1][j] >= common[i][j + 1] {
            i += 1;
        }
        let found = old.get(i).filter(|old| old.0 == *line);
        ends.push(found.map(|old| old.1));
        i += usize::from(found.is_some());
    }
    ends.extend(end.iter().map(|line| Some(line.1)));
    ends
}

//! What the script prints, cut into the texts of the tools.

use std::collections::BTreeMap;

use crate::script::HUNG;

/// The text of each tool, by the name of its section.
#[derive(Debug, Default)]
pub struct Sections<'a> {
    sections: BTreeMap<&'a str, Section<'a>>,
    /// The name of the last one.
    pub last: &'a str,
}

#[derive(Debug, Default)]
struct Section<'a> {
    out: String,
    /// The last line of its stderr.
    said: &'a str,
    /// Unknown if the script was ended before.
    code: Option<&'a str>,
}

impl<'a> Sections<'a> {
    /// Reads what the script printed. Lines of no section, such as a greeting of the user's
    /// own shell, are left out.
    pub fn parse(text: &'a str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let Some(mark) = line.chars().next().filter(|mark| mark.is_ascii()) else {
                continue;
            };
            let rest = &line[1..];
            if mark == '>' {
                read.last = rest;
                read.sections.insert(rest, Section::default());
                continue;
            }
            let Some(section) = read.sections.get_mut(read.last) else {
                continue;
            };
            match mark {
                '|' => {
                    section.out += rest;
                    section.out.push('\n');
                }
                '<' => section.code = Some(rest),
                '!' if !rest.trim().is_empty() => section.said = rest.trim(),
                _ => {}
            }
        }
        read
    }

    /// The text of a tool, or why there is none.
    pub fn get(&self, name: &str) -> Result<&str, String> {
        let Some(section) = self.sections.get(name) else {
            return Err("the node was not asked for it".to_owned());
        };
        match section.code {
            Some("0") => Ok(&section.out),
            _ if !section.said.is_empty() => Err(section.said.to_owned()),
            Some(code) => Err(format!("its tool ended with {code} and printed no reason")),
            None => Err("the node's answer ends before it".to_owned()),
        }
    }

    /// The names of tools that were ended because they took too long.
    pub fn hung(&self) -> impl Iterator<Item = &'a str> {
        let hung = self.sections.iter().filter(|(_, it)| it.code == Some(HUNG));
        hung.map(|(name, _)| *name)
    }

    /// The text of a tool that prints something.
    pub fn some(&self, name: &str) -> Result<&str, String> {
        match self.get(name)?.trim() {
            "" => Err("its tool printed nothing".to_owned()),
            text => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_apart_whatever_is_in_them() {
        let text =
            "Welcome!\n>a\n|one\n||>b\n|\n<0\n!warning\n>b\n<127\n!sh: b: not found\n!\n>c\n|cut";
        let sections = Sections::parse(text);
        assert_eq!(sections.get("a"), Ok("one\n|>b\n\n"));
        assert_eq!(sections.get("b"), Err("sh: b: not found".to_owned()));
        let cut = "the node's answer ends before it".to_owned();
        assert_eq!(sections.get("c"), Err(cut));
        assert!(sections.get("d").is_err());
    }
}

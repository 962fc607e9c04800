//! METADATA and WHEEL: fields as of an e-mail's head.

/// The value of a field.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    head(text).find_map(|line| value(line, name))
}

/// The text with another value of a field; every other byte stays.
pub(crate) fn with_field(text: &str, name: &str, new: &str) -> Option<String> {
    let old = head(text).find(|line| value(line, name).is_some())?;
    let start = old.as_ptr() as usize - text.as_ptr() as usize;
    let end = start + old.trim_end_matches('\r').len();
    Some(format!("{}{name}: {new}{}", &text[..start], &text[end..]))
}

/// The lines before the description.
fn head(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .take_while(|line| !line.trim_end().is_empty())
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Metadata-Version: 2.4\r\nName: mlx\nVersion: 0.31.2\n\nVersion: of text\n";

    #[test]
    fn fields_are_of_the_head_alone() {
        assert_eq!(field(TEXT, "version"), Some("0.31.2"));
        assert_eq!(field(TEXT, "Metadata-Version"), Some("2.4"));
        assert_eq!(field("\nVersion: 1\n", "Version"), None);
    }

    #[test]
    fn one_line_changes_and_nothing_else() {
        assert_eq!(
            with_field(TEXT, "Version", "0.31.2+rails.1").expect("there"),
            TEXT.replacen("Version: 0.31.2", "Version: 0.31.2+rails.1", 1)
        );
        assert_eq!(with_field(TEXT, "Tag", "x"), None);
    }
}

//! The `series` file: which patches, in which order.

/// The text of a `series` file, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Order {
    entries: Vec<Entry>,
    /// Comments behind the last patch.
    tail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Comments and empty lines above the patch.
    above: String,
    /// The patch file.
    file: String,
}

impl Order {
    pub(crate) fn parse(text: &str) -> Self {
        let mut order = Order::default();
        for line in text.lines() {
            let file = line.trim();
            if file.is_empty() || file.starts_with('#') {
                order.tail.push_str(line);
                order.tail.push('\n');
            } else {
                order.entries.push(Entry {
                    above: std::mem::take(&mut order.tail),
                    file: file.to_owned(),
                });
            }
        }
        order
    }

    /// The patch files, from first to last.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.file.as_str())
    }

    /// These files in this order, each with the comments it has here. Comments
    /// that open the file stay there.
    pub(crate) fn arranged(&self, files: &[String]) -> Self {
        let (opening, tail) = match self.entries.first() {
            Some(first) => (&first.above, self.tail.clone()),
            None => (&self.tail, String::new()),
        };
        let above = |file: &String| {
            let known = self.entries.iter().skip(1).find(|e| e.file == *file);
            known.map(|entry| entry.above.clone()).unwrap_or_default()
        };
        let mut entries: Vec<Entry> = files
            .iter()
            .map(|file| Entry {
                above: above(file),
                file: file.clone(),
            })
            .collect();
        match entries.first_mut() {
            Some(first) => first.above.insert_str(0, opening),
            None => {
                return Order {
                    entries,
                    tail: format!("{opening}{tail}"),
                };
            }
        }
        Order { entries, tail }
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Entry { above, file } in &self.entries {
            writeln!(f, "{above}{file}")?;
        }
        f.write_str(&self.tail)
    }
}

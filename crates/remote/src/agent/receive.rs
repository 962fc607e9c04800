//! Takes files, verifies their hashes, and publishes their tree.

use std::{
    collections::HashSet,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    At, Problem, Result,
    stage::{BLOBS, Scratch, Stage, TREES},
};
use crate::{
    tree::{Blob, Content, Entry, Tree, hex, sha256},
    wire::Reply,
};

/// Asks for what is missing, reads it from `input`, and publishes the tree.
pub(super) fn receive(
    stage: &Stage,
    tree: &Tree,
    input: &mut impl Read,
    say: &mut impl FnMut(&Reply),
) -> Result<Reply> {
    if !tree.is_below() {
        return Err(Problem::Words("a path leaves its tree".to_owned()));
    }
    check_links(tree)?;
    let (blobs, trees) = (stage.folder(BLOBS)?, stage.folder(TREES)?);
    let scratch = stage.scratch(&format!("receive-{}", std::process::id()))?;
    let missing = missing(tree, &blobs);
    let published = trees.join(tree.key());
    if missing.is_empty() && is_whole(tree, &blobs, &published) {
        return Ok(Reply::Published);
    }
    if !missing.is_empty() {
        let blob = |at: &usize| match &tree.entries[*at].content {
            Content::File(blob) => Some(blob),
            Content::Link(_) => None,
        };
        let wanted: Vec<_> = missing.iter().filter_map(blob).collect();
        check_room(stage, wanted.iter().map(|blob| blob.bytes).sum())?;
        say(&Reply::Missing(missing.clone()));
        for blob in wanted {
            take(blob, input, &scratch, &blobs)?;
        }
    }
    publish(tree, &blobs, &scratch, &published)?;
    Ok(Reply::Published)
}

/// A link to a file of the system, such as a Python, needs that file here too.
fn check_links(tree: &Tree) -> Result<()> {
    for Entry { path, content } in &tree.entries {
        if let Content::Link(to) = content
            && to.is_absolute()
            && !to.exists()
        {
            let to = to.display();
            let problem = format!("it has no {to}, to which {path} points: install the same there");
            return Err(Problem::Words(problem));
        }
    }
    Ok(())
}

/// The entries whose contents are not here, each content once.
fn missing(tree: &Tree, blobs: &Path) -> Vec<usize> {
    let mut seen = HashSet::new();
    let entries = tree.entries.iter().enumerate();
    let missing = entries.filter(|(_, entry)| match &entry.content {
        Content::Link(_) => false,
        Content::File(blob) => seen.insert(blob.name()) && !is_right(blob, &blobs.join(blob.name())),
    });
    missing.map(|(at, _)| at).collect()
}

fn is_right(blob: &Blob, path: &Path) -> bool {
    let length = fs::symlink_metadata(path).is_ok_and(|it| it.is_file() && it.len() == blob.bytes);
    length && File::open(path).and_then(sha256).is_ok_and(|it| it == blob.sha256)
}

/// Whether every file of a published tree is the blob of its name, which was verified.
fn is_whole(tree: &Tree, blobs: &Path, published: &Path) -> bool {
    let number = |path: &Path| fs::symlink_metadata(path).map(|it| it.ino()).ok();
    tree.entries.iter().all(|entry| {
        let path = published.join(&entry.path);
        match &entry.content {
            Content::Link(to) => fs::read_link(path).is_ok_and(|it| it == *to),
            Content::File(blob) => {
                let there = number(&path);
                there.is_some() && there == number(&blobs.join(blob.name()))
            }
        }
    })
}

/// Names and folders need some as well.
fn check_room(stage: &Stage, bytes: u64) -> Result<()> {
    let (free, needed) = (stage.free()?, bytes + (1 << 20));
    if free >= needed {
        return Ok(());
    }
    let problem = format!("{} MB are needed, and {} MB are free", needed >> 20, free >> 20);
    let source = io::Error::new(io::ErrorKind::StorageFull, problem);
    Err(source).at(&stage.folder(BLOBS)?)
}

/// Reads the content of a file.
fn take(blob: &Blob, input: &mut impl Read, scratch: &Scratch, blobs: &Path) -> Result<()> {
    let (new, path) = (scratch.path().join("blob"), blobs.join(blob.name()));
    let mut file = File::create(&new).at(&new)?;
    let mut hash = Sha256::new();
    let mut left = blob.bytes;
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = input.read(&mut buffer[..most]).at(&new)?;
        if length == 0 {
            return Err(Problem::Words("the launcher is gone".to_owned()));
        }
        file.write_all(&buffer[..length]).at(&new)?;
        hash.update(&buffer[..length]);
        left -= length as u64;
    }
    if hex(&hash.finalize()) != blob.sha256 {
        let problem = format!("what arrived as {} has another hash", blob.sha256);
        return Err(Problem::Words(problem));
    }
    let mode = match blob.executable {
        true => 0o500,
        false => 0o400,
    };
    file.set_permissions(Permissions::from_mode(mode)).at(&new)?;
    // A program that is open for writing cannot be run.
    drop(file);
    fs::rename(&new, &path).at(&path)
}

/// Makes the tree and gives it its name.
fn publish(tree: &Tree, blobs: &Path, scratch: &Scratch, published: &Path) -> Result<()> {
    let new = scratch.path().join("tree");
    fs::create_dir(&new).at(&new)?;
    for Entry { path, content } in &tree.entries {
        let path = new.join(path);
        let folder = path.parent().unwrap_or(&new);
        fs::create_dir_all(folder).at(folder)?;
        match content {
            Content::Link(to) => symlink(to, &path).at(&path)?,
            Content::File(blob) => fs::hard_link(blobs.join(blob.name()), &path).at(&path)?,
        }
    }
    if published.exists() {
        // A file of it was changed. Ranks that have it open keep what they have.
        let old = scratch.path().join("old");
        fs::rename(published, &old).at(published)?;
    }
    match fs::rename(&new, published) {
        // Another agent has just published the same.
        Err(_) if is_whole(tree, blobs, published) => Ok(()),
        renamed => renamed.at(published),
    }
}

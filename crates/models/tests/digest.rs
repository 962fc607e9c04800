//! What names the content of a folder.

use std::{fs, path::Path};

use models::{
    Family, Folder,
    tiny::{self, Weights},
};

fn digest(path: &Path) -> String {
    Folder::open(path).unwrap().digest().unwrap()
}

#[test]
fn a_digest_follows_the_content_and_not_the_place() {
    let folder = |seed| {
        let folder = tempfile::tempdir().unwrap();
        tiny::write(Family::Qwen3, Weights::Plain, seed, folder.path()).unwrap();
        folder
    };
    let (one, same, other) = (folder(1), folder(1), folder(2));
    let of_one = digest(one.path());
    assert_eq!((of_one.len(), &of_one), (16, &digest(same.path())));
    assert_ne!(of_one, digest(other.path()), "the weights differ");

    let config = same.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen('{', "{ \"note\": 1,", 1)).unwrap();
    assert_ne!(of_one, digest(same.path()), "the config differs");
}

#[test]
fn the_last_bytes_of_a_large_tensor_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(Family::Llama, Weights::Plain, 1, folder.path()).unwrap();
    let before = digest(folder.path());
    let opened = Folder::open(folder.path()).unwrap();
    let largest = opened.tensors().values().max_by_key(|it| it.bytes).unwrap();
    assert!(largest.bytes > 3 * 4096, "{largest:?}");
    let mut content = fs::read(&largest.file).unwrap();
    content[largest.offset as usize + largest.bytes - 1] ^= 1;
    fs::write(&largest.file, content).unwrap();
    assert_ne!(before, digest(folder.path()));
}

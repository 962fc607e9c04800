//! The models that a user names, and the model `smollm2`, in the store.

use std::path::PathBuf;

use models::{Caches, Found, resolve, smollm2};
use rail_bench::{
    Text,
    model::{Folder, Model, Preset},
};

use crate::{
    exit::{Failure, Result},
    session::Session,
};

/// The model with this name: a preset, `smollm2`, a folder, or `org/name` in a cache.
pub fn named(session: &Session, name: &str) -> Result<Model> {
    if let Some(preset) = Preset::find(name) {
        return Ok(preset.into());
    }
    let found = resolve(name, &Caches::of_user()).map_err(|error| match error {
        models::Error::NoSuchModel { .. } => {
            let presets: Vec<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
            Failure::from(error).help(format!(
                "name a preset ({}), {}, a folder, or a model as org/name",
                presets.join(", "),
                smollm2::NAME
            ))
        }
        error => error.into(),
    })?;
    let folder = match found {
        // A folder has its own name; a model of a cache has the one that it was found by.
        Found::Folder(path) if path.as_os_str() == name => Folder::open(None, &path)?,
        Found::Folder(path) => Folder::open(Some(name), &path)?,
        Found::SmolLm2 => Folder::open(Some(smollm2::NAME), &smollm2(session)?)?,
    };
    Ok(Model::Folder(folder))
}

/// A prompt by the model's tokenizer.
pub fn text(model: &Model, text: &str) -> Result<Text> {
    let Model::Folder(folder) = model else {
        let problem = format!("the preset {} has no tokenizer", model.name());
        return Err(
            Failure::input(problem).help("use --prompt-tokens, or --model smollm2".to_owned())
        );
    };
    let text = Text::new(text, &folder.content)?;
    match text.ids.is_empty() {
        true => Err(Failure::input("the prompt has no token")),
        false => Ok(text),
    }
}

/// The folder of `smollm2`, made first when the store does not have it.
pub fn smollm2(session: &Session) -> Result<PathBuf> {
    let make = |wheel: &_, made: &_| smollm2::make(wheel, made).map_err(Failure::from);
    let toolchain = &session.toolchain;
    toolchain.smollm2(&smollm2::key(), smollm2::is_whole, make)
}

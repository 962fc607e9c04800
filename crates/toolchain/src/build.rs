//! From a pin and a series to a prefix that can be linked against.

use std::{
    collections::BTreeMap,
    env, fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    Toolchain,
    compile::{Compilation, Sources},
    error::{Error, IoContext, Result},
    fetch::{Source, SourceTree},
    manifest::{Artefact, Component, Inputs, Manifest, SCHEMA},
    pin::Pin,
    platform::Platform,
    series::Series,
    store::{Kind, sha256},
    tools::{Compiler, folder_hash, sdk_version},
    tree::Listing,
};

/// The oldest macOS whose SDK and deployment target give MLX its jaccl.
const MACOS_WITH_JACCL: &str = "26.2";

/// Variables that change what CMake or the compiler does.
const OBEYED: [&str; 6] = ["CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"];

/// What to build.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The MLX.
    pub pin: &'a Pin,
    /// Its patches.
    pub series: Series,
    /// A fix to take out of the patched series again, by its name: what MLX does
    /// with all patches but this one.
    pub without: Option<&'a str>,
    /// How much of it.
    pub component: Component,
    /// Compilers at once; all processors when not given.
    pub jobs: Option<NonZeroUsize>,
}

impl<'a> Request<'a> {
    /// The whole of MLX with all processors.
    pub fn mlx(pin: &'a Pin, series: Series) -> Self {
        Request {
            pin,
            series,
            without: None,
            component: Component::Mlx,
            jobs: None,
        }
    }

    /// jaccl alone with all processors.
    pub fn jaccl(pin: &'a Pin, series: Series) -> Self {
        Request {
            component: Component::Jaccl,
            ..Request::mlx(pin, series)
        }
    }
}

/// A finished build in the store.
#[derive(Debug, Clone)]
pub struct Build {
    /// What to link against.
    pub prefix: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// Whether it was there already.
    pub current: bool,
}

impl Build {
    /// The shared library that a build is for.
    pub fn library(&self) -> PathBuf {
        self.prefix
            .join("lib")
            .join(self.manifest.inputs.component.library())
    }

    /// Where the manifest is.
    pub fn manifest_file(&self) -> PathBuf {
        self.prefix.with_file_name("manifest.json")
    }
}

impl Toolchain {
    /// The build that `request` describes, made first when the store does not
    /// have it: fetch, patch, tools, CMake, Ninja, manifest.
    ///
    /// # Errors
    /// Those of [`Toolchain::fetch`], [`Toolchain::patch`] and
    /// [`Toolchain::tools`]; [`Error::Command`] with the log's place when CMake
    /// or Ninja fails; [`Error::BadBuild`] when jaccl is not in the result.
    pub fn build(&self, request: &Request<'_>) -> Result<Build> {
        let inputs = self.inputs(request)?;
        if let Some(build) = self.finished(&inputs)? {
            return Ok(build);
        }
        self.progress.note(&self.why_not_current(&inputs));
        // One lock for all that share a work folder, not only for this build.
        let work_key = inputs.work_key();
        let _lock = self
            .store
            .lock(&format!("work-{work_key}"), &*self.progress, &self.cancel)?;
        if let Some(build) = self.finished(&inputs)? {
            return Ok(build);
        }
        let work = self.store.root().join("work").join(work_key);
        self.compile(request, inputs, &work)
    }

    /// What a build of `request` depends on; needs the patched tree, not the
    /// tools.
    fn inputs(&self, request: &Request<'_>) -> Result<Inputs> {
        let Request {
            pin,
            series,
            without,
            component,
            ..
        } = *request;
        let patched = self.tree_of(request)?;
        let mut patches = self.patches(pin, series)?;
        patches.retain(|patch| Some(patch.name.as_str()) != without);
        let mut sources = BTreeMap::new();
        let mut recipe = folder_hash(&self.recipe())?;
        match component {
            Component::Mlx => {
                sources.insert("mlx-c".to_owned(), pin.mlx_c.tree);
            }
            Component::Jaccl => recipe = format!("{recipe}+{}", folder_hash(&self.shim())?),
        }
        if !Platform::HERE.system.brings_blas_and_verbs() {
            sources.insert("verbs".to_owned(), self.verbs_pin()?.tree);
        }
        let sdk = sdk_version()?;
        Ok(Inputs {
            component,
            mlx: pin.version.clone(),
            series,
            without: without.map(str::to_owned),
            tree: pin.mlx.tree,
            patched_tree: patched.tree,
            patches: patches.into_iter().map(|p| (p.name, p.sha256)).collect(),
            sources,
            recipe,
            tools: self.tools_if_present().key,
            compiler: Compiler::detect()?,
            options: options(component, sdk.as_deref()),
            sdk,
            environment: OBEYED
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
                .collect(),
        })
    }

    /// The tree that a request compiles.
    fn tree_of(&self, request: &Request<'_>) -> Result<SourceTree> {
        match (request.without, request.series) {
            (None, series) => self.patch(request.pin, series),
            (Some(fix), Series::Patched) => self.patch_without(request.pin, fix),
            (Some(fix), Series::Stock) => Err(Error::Input {
                input: fix.to_owned(),
                problem: "the stock series has no fix that could be left out".into(),
                remedy: "leave it out of the patched series".into(),
            }),
        }
    }

    /// The build of these inputs, if the store has it whole.
    fn finished(&self, inputs: &Inputs) -> Result<Option<Build>> {
        let entry = self.store.entry(Kind::Build, &inputs.key());
        let file = entry.join("manifest.json");
        if !file.is_file() {
            return Ok(None);
        }
        let build = Build {
            prefix: entry.join("prefix"),
            manifest: Manifest::load(&file)?,
            current: true,
        };
        let damaged = build.manifest.artefacts.iter().find(|artefact| {
            fs::metadata(build.prefix.join(&artefact.path))
                .map(|m| m.len())
                .ok()
                != Some(artefact.bytes)
        });
        if let Some(artefact) = damaged {
            self.progress.note(&format!(
                "{} of the stored build was changed; building anew",
                artefact.path
            ));
            fs::remove_dir_all(&entry).at("remove", &entry)?;
            return Ok(None);
        }
        Ok(Some(build))
    }

    /// Holds the inputs against the newest build of the same kind.
    fn why_not_current(&self, inputs: &Inputs) -> String {
        let without = inputs.without.as_deref();
        match self.newest_build(inputs.component, &inputs.mlx, inputs.series, without) {
            None => format!("no build of {inputs} is in the store yet"),
            Some(m) => format!(
                "the store's build of {inputs} is of other inputs: {}",
                inputs.changes_since(&m.inputs).join(", ")
            ),
        }
    }

    /// What the store's last build of a kind was, whatever its other inputs.
    pub(crate) fn newest_build(
        &self,
        component: Component,
        version: &str,
        series: Series,
        without: Option<&str>,
    ) -> Option<Manifest> {
        let builds = fs::read_dir(self.store.entry(Kind::Build, "")).ok()?;
        builds
            .flatten()
            .filter_map(|entry| Manifest::load(&entry.path().join("manifest.json")).ok())
            .filter(|Manifest { inputs, .. }| {
                (inputs.component, inputs.mlx.as_str(), inputs.series)
                    == (component, version, series)
                    && inputs.without.as_deref() == without
            })
            .max_by_key(|m| m.finished)
    }

    fn compile(&self, request: &Request<'_>, inputs: Inputs, work: &Path) -> Result<Build> {
        let started = Instant::now();
        let tools = self.tools()?;
        // Ninja remembers paths: everything it sees is copied to where it will be
        // for any clone, and only what changed is touched.
        let sources = Sources {
            recipe: mirror(&self.recipe(), work.join("recipe"))?,
            mlx: mirror(&self.tree_of(request)?.path, work.join("mlx"))?,
            companion: match request.component {
                Component::Mlx => self.mlx_c(request.pin, work.join("mlx-c"))?,
                Component::Jaccl => mirror(&self.shim(), work.join("shim"))?,
            },
            verbs: if !Platform::HERE.system.brings_blas_and_verbs() {
                Some(self.verbs()?)
            } else {
                None
            },
        };
        let scratch = self.store.scratch()?;
        let prefix = scratch.path().join("prefix");
        let compilation = Compilation {
            inputs: &inputs,
            tools: &tools,
            sources: &sources,
            folder: &work.join("build"),
            log: &scratch.path().join("build.log"),
            progress: &*self.progress,
            cancel: &self.cancel,
        };
        compilation.run(request.jobs, &prefix)?;

        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            key: inputs.key(),
            artefacts: artefacts(&prefix)?,
            inputs,
            seconds: started.elapsed().as_secs(),
            finished: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
        };
        manifest.save(&scratch.path().join("manifest.json"))?;
        let entry = self
            .store
            .publish(Kind::Build, &manifest.key, scratch.path())?;
        Ok(Build {
            prefix: entry.join("prefix"),
            manifest,
            current: false,
        })
    }

    /// mlx-c includes its headers as `mlx/c/...`; its pinned tree is the `mlx`.
    fn mlx_c(&self, pin: &Pin, folder: PathBuf) -> Result<PathBuf> {
        let tree = self.fetch(&pin.mlx_c, &Source::Auto)?;
        let link = folder.join("mlx");
        fs::create_dir_all(&folder).at("create", &folder)?;
        if fs::read_link(&link).ok().as_deref() != Some(&tree.path) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&tree.path, &link).at("create", &link)?;
        }
        Ok(folder)
    }

    fn recipe(&self) -> PathBuf {
        self.root.join("crates/toolchain/cmake")
    }

    fn shim(&self) -> PathBuf {
        self.root.join("crates/jaccl/shim")
    }
}

fn options(component: Component, sdk: Option<&str>) -> BTreeMap<String, String> {
    let mut options: BTreeMap<&str, &str> = BTreeMap::from([
        ("RAILS_COMPONENT", component.name()),
        ("CMAKE_BUILD_TYPE", "Release"),
        ("FETCHCONTENT_FULLY_DISCONNECTED", "ON"),
        ("MLX_BUILD_TESTS", "OFF"),
        ("MLX_BUILD_EXAMPLES", "OFF"),
        ("MLX_BUILD_BENCHMARKS", "OFF"),
        ("MLX_BUILD_PYTHON_BINDINGS", "OFF"),
        ("MLX_BUILD_GGUF", "OFF"),
        // A compiler cache of the user's would put a second store beside ours.
        ("MLX_USE_CCACHE", "OFF"),
        ("USE_SYSTEM_FMT", "ON"),
    ]);
    let metal_cpp = env::var("MLX_RAILS_METAL_CPP").ok();
    if let Some(sdk) = sdk {
        options.insert("CMAKE_OSX_DEPLOYMENT_TARGET", MACOS_WITH_JACCL);
        // MLX asks for it only when Metal is on, and leaves jaccl out without it.
        options.insert("MACOS_SDK_VERSION", sdk);
    }
    match metal_cpp.as_deref() {
        Some(folder) => {
            options.insert("MLX_BUILD_METAL", "ON");
            options.insert("FETCHCONTENT_SOURCE_DIR_METAL_CPP", folder);
        }
        None => {
            options.insert("MLX_BUILD_METAL", "OFF");
        }
    }
    options
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Makes `to` equal `from` without touching what is equal already.
fn mirror(from: &Path, to: PathBuf) -> Result<PathBuf> {
    Listing::of_folder(from)?.sync(from, &to)?;
    Ok(to)
}

fn artefacts(prefix: &Path) -> Result<Vec<Artefact>> {
    let lib = prefix.join("lib");
    let mut artefacts = Vec::new();
    for entry in fs::read_dir(&lib).at("read", &lib)?.flatten() {
        let path = entry.path();
        if !path.is_file() {
            continue;
        }
        let content = fs::read(&path).at("read", &path)?;
        artefacts.push(Artefact {
            path: format!("lib/{}", entry.file_name().to_string_lossy()),
            bytes: content.len() as u64,
            sha256: sha256(&content),
        });
    }
    artefacts.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(artefacts)
}

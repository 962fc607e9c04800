//! From a pin and a series to a prefix that can be linked against.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ::store::Entry;
use patch_series::Patch;
use pins::{Listing, ObjectId, Pin, Series, tree::is_tree};

use crate::{
    Toolchain,
    compile::{Compilation, ForZig, Sources},
    compiler::Compilers,
    dylib::{self, DylibTarget},
    error::{Error, IoContext, Result},
    fetch::{Source, SourceTree},
    macos,
    manifest::{Artefact, Component, Inputs, Manifest, SCHEMA},
    of_wheel::official_for_macos,
    platform::{Platform, System},
    store::{Kind, whole_build},
    tools::{folder_hash, sdk_version},
};

/// Names in a work folder: the CMake files of a component, and the shim over jaccl.
const RECIPE: &str = "recipe";
const SHIM: &str = "shim";

/// The CMake files that all components share, and those for zig: by the names by which a
/// component's files include them, and where a checkout has them.
const COMMON: (&str, &str) = ("common", "crates/toolchain/cmake/common");
const ZIG: (&str, &str) = ("zig", "crates/toolchain/cmake/zig");

/// Where a checkout has our headers.
pub(crate) const HEADERS: &str = "crates/toolchain/cmake/common/include";

/// How often a build begins again because a file was edited while it was copied.
const ATTEMPTS: usize = 3;

/// What to build.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The MLX.
    pub pin: &'a Pin,
    /// Its patches.
    pub series: Series,
    /// Fixes and performance patches to leave out of the series, by their names: what MLX
    /// does with all its patches but these. Their order means nothing.
    pub without: Vec<String>,
    /// How much of it.
    pub component: Component,
    /// Compilers at once; all processors when not given.
    pub jobs: Option<NonZeroUsize>,
    /// For [`Component::Dylib`]: the library whose place it takes.
    pub dylib: Option<&'a DylibTarget>,
}

impl<'a> Request<'a> {
    /// The whole of MLX with all processors, as this system makes it: on macOS of the
    /// official wheel, elsewhere from source.
    pub fn mlx(pin: &'a Pin, series: Series) -> Self {
        Request {
            pin,
            series,
            without: Vec::new(),
            component: Component::whole_mlx(Platform::HERE.system),
            jobs: None,
            dylib: None,
        }
    }

    /// The whole of MLX, compiled from source on every system.
    pub fn mlx_from_source(pin: &'a Pin, series: Series) -> Self {
        Request {
            component: Component::Mlx,
            ..Request::mlx(pin, series)
        }
    }

    /// MLX of the official wheel for macOS, with jaccl of the series in it.
    pub fn mlx_of_wheel(pin: &'a Pin, series: Series) -> Self {
        Request {
            component: Component::MlxOfWheel,
            ..Request::mlx(pin, series)
        }
    }

    /// jaccl alone with all processors.
    pub fn jaccl(pin: &'a Pin, series: Series) -> Self {
        Request {
            component: Component::Jaccl,
            ..Request::mlx(pin, series)
        }
    }

    /// jaccl alone as a wheel for macOS has it, with all processors.
    pub fn dylib(pin: &'a Pin, series: Series, target: &'a DylibTarget) -> Self {
        Request {
            component: Component::Dylib,
            dylib: Some(target),
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

    fn of_entry(entry: Entry<Manifest>) -> Self {
        Build {
            prefix: entry.path.join("prefix"),
            manifest: entry.value,
            current: entry.current,
        }
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
    /// Those of [`Toolchain::fetch`], [`Workshop::patch`](patch_series::Workshop::patch) and
    /// [`Toolchain::tools`]; [`Error::Command`] with the log's place when CMake
    /// or Ninja fails; [`Error::BadBuild`] when jaccl is not in the result.
    pub fn build(&self, request: &Request<'_>) -> Result<Build> {
        let shared = self.shared()?;
        let read_inputs = || {
            if request.component.has_mlx_c() {
                // The key names what the pin records; the series must give that.
                self.series().patch_mlx_c(request.pin)?;
            }
            self.inputs(request, self.tree_of(request)?.tree)
        };
        let inputs = read_inputs()?;
        if let Some(build) = self.finished(&inputs)? {
            return Ok(build);
        }
        self.progress.note(&self.why_not_current(&inputs));
        let mut attempts = 0;
        loop {
            attempts += 1;
            // Whoever waits here for another build may have time to edit a file.
            let read = || {
                let inputs = read_inputs()?;
                Ok::<_, Error>((inputs.work_key(), inputs))
            };
            let work = self.waiting(|wait| shared.work(inputs.work_key(), wait, read))?;
            let inputs = &work.value;
            let key = inputs.key();
            let check = |entry: &Path| Ok(whole_build(entry, &key));
            let built = self.make_entry(Kind::Build, &key, check, |scratch| {
                self.compile(request, inputs, &work.path, scratch)
            });
            match built {
                // What was copied for the compiler is not what the key names.
                Err(Error::Edited { .. }) if attempts < ATTEMPTS => {}
                built => return built.map(Build::of_entry),
            }
        }
    }

    /// The build that `request` describes, if the store has it: fetches nothing, patches
    /// nothing and compiles nothing. Goes by the trees that the pin records, and so finds
    /// none of a series that was changed since.
    ///
    /// # Errors
    /// As [`Toolchain::build`] for a compiler that is missing.
    pub fn find(&self, request: &Request<'_>) -> Result<Option<Build>> {
        match self.recorded_inputs(request)? {
            Some(inputs) => self.finished(&inputs),
            None => Ok(None),
        }
    }

    /// The inputs of `request` by the trees that the pin records; a series without some of
    /// its patches has no record.
    ///
    /// # Errors
    /// As [`Toolchain::find`].
    pub fn recorded_inputs(&self, request: &Request<'_>) -> Result<Option<Inputs>> {
        match request.without.is_empty() {
            true => {
                let recorded = request.series.recorded(request.pin);
                self.inputs(request, recorded).map(Some)
            }
            false => Ok(None),
        }
    }

    /// What a build of `request` depends on; needs neither sources nor tools.
    fn inputs(&self, request: &Request<'_>, patched_tree: ObjectId) -> Result<Inputs> {
        let compilers = match request.component.is_cross() {
            true => self.zig_if_present()?.compilers(request.dylib),
            false => Compilers::detect(&self.environment)?,
        };
        self.inputs_with(request, patched_tree, compilers)
    }

    /// As `inputs`, for a caller that asks for many builds. Detecting the compilers takes
    /// longest.
    pub(crate) fn inputs_with(
        &self,
        request: &Request<'_>,
        patched_tree: ObjectId,
        compilers: Compilers,
    ) -> Result<Inputs> {
        let Request {
            pin,
            series,
            component,
            ..
        } = *request;
        let is_left_out = |patch: &Patch| request.without.contains(&patch.name);
        let (left_out, patches): (Vec<_>, Vec<_>) =
            (self.series().patches(pin, series)?.into_iter()).partition(is_left_out);
        let mut sources = BTreeMap::new();
        if component.has_mlx_c() {
            sources.insert("mlx-c".to_owned(), pin.mlx_c_patched);
        }
        if !Platform::HERE.system.brings_blas_and_verbs() {
            sources.insert("verbs".to_owned(), self.verbs_pin()?.tree);
        }
        let metal = has_metal(component, Platform::HERE.system);
        if metal {
            let tree = match self.environment.metal_cpp() {
                Some(folder) => Listing::of_folder(folder)?.tree_id(),
                None => self.metal_cpp_pin()?.tree,
            };
            sources.insert("metal-cpp".to_owned(), tree);
        }
        let sdk = sdk_version(&self.environment)?
            .map(|version| macos::checked_sdk(&version))
            .transpose()?;
        let base = match component {
            Component::MlxOfWheel => Some(official_for_macos(pin)?.sha256.clone()),
            _ => None,
        };
        Ok(Inputs {
            component,
            mlx: pin.version.clone(),
            series,
            without: left_out.into_iter().map(|patch| patch.name).collect(),
            tree: pin.mlx.tree,
            patched_tree,
            patches: patches.into_iter().map(|p| (p.name, p.sha256)).collect(),
            base,
            sources,
            recipe: recipe_hash(&self.recipes(component))?,
            tools: self.tools_if_present().key,
            compilers,
            options: match request.dylib {
                Some(target) => target.options(sdk.as_deref()),
                None => options(component, sdk.as_deref(), metal),
            },
            sdk,
            // Which are for compilers of this system.
            environment: match component.is_cross() {
                true => BTreeMap::new(),
                false => self.environment.hashed(),
            },
        })
    }

    /// The tree that a request compiles.
    fn tree_of(&self, request: &Request<'_>) -> Result<SourceTree> {
        let Request {
            pin,
            series,
            without,
            ..
        } = request;
        let workshop = self.series();
        match (without.as_slice(), series) {
            ([], series) => Ok(workshop.patch(pin, *series)?),
            ([patch, ..], Series::Stock) => Err(Error::Input {
                input: patch.clone(),
                problem: "the stock series has no patch that could be left out".into(),
                remedy: "leave it out of the patched or of the tuned series".into(),
            }),
            (patches, series) => Ok(workshop.patch_without(pin, *series, patches)?),
        }
    }

    /// The build of these inputs, if the store has it whole.
    fn finished(&self, inputs: &Inputs) -> Result<Option<Build>> {
        let key = inputs.key();
        if !self.store().holds(Kind::Build, &key) {
            return Ok(None);
        }
        // What is found is used, so it must not be collected from here on.
        self.shared()?;
        let path = self.store().entry(Kind::Build, &key)?;
        Ok(whole_build(&path, &key).map(|value| {
            Build::of_entry(Entry {
                path,
                value,
                current: true,
            })
        }))
    }

    /// Holds the inputs against the newest build of the same kind.
    fn why_not_current(&self, inputs: &Inputs) -> String {
        let Inputs {
            component,
            mlx,
            series,
            without,
            ..
        } = inputs;
        match self.newest_build(*component, mlx, *series, without) {
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
        without: &[String],
    ) -> Option<Manifest> {
        let builds = self.store().keys(Kind::Build);
        builds
            .iter()
            .filter_map(|key| whole_build(&self.store().entry(Kind::Build, key).ok()?, key))
            .filter(|Manifest { inputs, .. }| {
                (inputs.component, inputs.mlx.as_str(), inputs.series)
                    == (component, version, series)
                    && inputs.without == without
            })
            .max_by_key(|m| m.finished)
    }

    /// Makes the build's folder in `scratch`, with Ninja working in `work`.
    fn compile(
        &self,
        request: &Request<'_>,
        inputs: &Inputs,
        work: &Path,
        scratch: &Path,
    ) -> Result<(PathBuf, Manifest)> {
        let started = Instant::now();
        let component = request.component;
        if component.is_cross() {
            self.zig()?;
        } else {
            inputs.compilers.try_cxx20(&self.environment)?;
        }
        let metal = has_metal(component, Platform::HERE.system);
        if metal {
            self.metal_for(inputs)?;
        }
        let tools = self.tools()?;
        // Ninja remembers paths: everything it sees is copied to where it will be
        // for any clone, and only what changed is touched.
        let recipes = self.recipes(component);
        let mut copies = Vec::new();
        for (name, folder) in &recipes {
            let copy = work.join(name);
            mirror(folder, &copy)?;
            copies.push((*name, copy));
        }
        // The copies are compiled, so they must be what the key names.
        if recipe_hash(&copies)? != inputs.recipe {
            let path = self.root.join("crates/toolchain");
            return Err(Error::Edited { path });
        }
        let entry = scratch.join("entry");
        fs::create_dir(&entry).at("create", &entry)?;
        let prefix = entry.join("prefix");

        let mut folders = Vec::new();
        let mut of_wheel = None;
        if component == Component::MlxOfWheel {
            let wheel = work.join("wheel");
            of_wheel = Some(self.lay_out_wheel(request, inputs, &prefix, &wheel)?);
            folders.push(("RAILS_MLX_PREFIX", wheel));
        } else {
            let mlx = work.join("mlx");
            let patched = inputs.patched_tree.to_string();
            mirror(&self.store().entry(Kind::Source, &patched)?, &mlx)?;
            if is_tree(&mlx, inputs.patched_tree)?.is_none() {
                return Err(Error::Edited { path: mlx });
            }
            folders.push(("RAILS_MLX_DIR", mlx));
        }
        if component.has_mlx_c() {
            let folder = self.mlx_c(request.pin, work.join("mlx-c"))?;
            folders.push(("RAILS_MLXC_DIR", folder));
        }
        if component == Component::Jaccl {
            folders.push(("RAILS_SHIM_DIR", work.join(SHIM)));
        }
        // A library's target is an input, or else follows from the wheel, which is one.
        let mut compilers = inputs.compilers.clone();
        let mut derived = Vec::new();
        let target = of_wheel.as_ref().map(|it| &it.target);
        if let Some(target) = target {
            derived.push(target.deployment());
            if component.is_cross() {
                compilers = self.zig_if_present()?.compilers(Some(target));
            }
        }
        let target = target.or(request.dylib);
        let sources = Sources {
            recipe: work.join(RECIPE),
            folders,
            zig: match target.filter(|_| component.is_cross()) {
                Some(target) => Some(ForZig {
                    libcxx: target.write_stub(work)?,
                    toolchain_file: work.join(ZIG.0).join(dylib::TOOLCHAIN_FILE),
                }),
                None => None,
            },
            verbs: if !Platform::HERE.system.brings_blas_and_verbs() {
                Some(self.verbs()?)
            } else {
                None
            },
            metal_cpp: match (metal, self.environment.metal_cpp()) {
                (false, _) => None,
                (true, Some(folder)) => Some(folder.clone()),
                (true, None) => {
                    let pin = self.metal_cpp_pin()?;
                    Some(self.fetch(&pin, &Source::Auto)?.path)
                }
            },
        };
        let compilation = Compilation {
            inputs,
            compilers: &compilers,
            derived,
            tools: &tools,
            sources: &sources,
            work,
            log: &entry.join("build.log"),
        };
        compilation.run(self, request.jobs, &prefix)?;
        if let Some(of_wheel) = of_wheel {
            of_wheel.check(request, &prefix)?;
        }

        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            key: inputs.key(),
            artefacts: Artefact::of_folder(&prefix)?,
            inputs: inputs.clone(),
            seconds: started.elapsed().as_secs(),
            finished: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
        };
        manifest.save(&entry.join("manifest.json"))?;
        Ok((entry, manifest))
    }

    /// Refuses to begin without the Metal compiler, and says what is known to be wrong with it.
    fn metal_for(&self, inputs: &Inputs) -> Result<()> {
        macos::metal_compiler(&self.environment)?;
        let xcode = macos::xcode(&self.environment);
        if let Some(defect) = xcode.as_deref().and_then(macos::known_defect) {
            self.progress
                .note(&format!("{inputs} from source: {defect}"));
        }
        Ok(())
    }

    /// The patched mlx-c. It includes its headers as `mlx/c/...`; its tree is the `mlx`.
    pub(crate) fn mlx_c(&self, pin: &Pin, folder: PathBuf) -> Result<PathBuf> {
        let tree = self.series().patch_mlx_c(pin)?;
        let link = folder.join("mlx");
        fs::create_dir_all(&folder).at("create", &folder)?;
        if fs::read_link(&link).ok().as_deref() != Some(&tree.path) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&tree.path, &link).at("create", &link)?;
        }
        Ok(folder)
    }

    /// Our folders that are compiled, the CMake files first, by their names in the work
    /// folder.
    pub(crate) fn recipes(&self, component: Component) -> Vec<(&'static str, PathBuf)> {
        let folders: &[_] = match component {
            Component::Mlx => &[(RECIPE, "crates/toolchain/cmake/mlx"), COMMON],
            Component::Jaccl => &[
                (RECIPE, "crates/toolchain/cmake/mlx"),
                COMMON,
                (SHIM, "crates/jaccl/shim"),
            ],
            Component::Dylib => &[(RECIPE, "crates/toolchain/cmake/dylib"), COMMON, ZIG],
            Component::MlxOfWheel => &[(RECIPE, "crates/toolchain/cmake/mlxc"), COMMON, ZIG],
        };
        let in_root = |(name, folder): &(_, _)| (*name, self.root.join(folder));
        folders.iter().map(in_root).collect()
    }

    /// The hash of what a libjaccl for macOS is compiled by.
    pub(crate) fn recipe_of_dylib(&self) -> Result<String> {
        recipe_hash(&self.recipes(Component::Dylib))
    }
}

/// Whether a build has MLX's Metal backend compiled into it.
fn has_metal(component: Component, system: System) -> bool {
    (component, system) == (Component::Mlx, System::MacOs)
}

fn options(component: Component, sdk: Option<&str>, metal: bool) -> BTreeMap<String, String> {
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
    if component == Component::Mlx {
        // A wheel needs a shared libmlx, and no object file of a static one fits into it.
        options.insert("BUILD_SHARED_LIBS", "ON");
    }
    if let Some(sdk) = sdk {
        options.insert("CMAKE_OSX_DEPLOYMENT_TARGET", macos::WITH_JACCL);
        // MLX asks for it only when Metal is on, and leaves jaccl out without it.
        options.insert("MACOS_SDK_VERSION", sdk);
    }
    options.insert("MLX_BUILD_METAL", if metal { "ON" } else { "OFF" });
    options
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Makes `to` equal `from` without touching what is equal already.
pub(crate) fn mirror(from: &Path, to: &Path) -> Result<()> {
    Ok(Listing::of_folder(from)?.sync(from, to)?)
}

/// Names our part of a build: the CMake files, and what is compiled with them.
fn recipe_hash(folders: &[(&str, PathBuf)]) -> Result<String> {
    let hashes: Vec<String> = (folders.iter())
        .map(|(_, folder)| folder_hash(folder))
        .collect::<Result<_>>()?;
    Ok(hashes.join("+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_from_source_on_a_mac_compiles_metal() {
        let option = |component, system, sdk| {
            let metal = has_metal(component, system);
            options(component, sdk, metal)["MLX_BUILD_METAL"].clone()
        };
        assert_eq!(option(Component::Mlx, System::MacOs, Some("26.2")), "ON");
        assert_eq!(option(Component::Mlx, System::Linux, None), "OFF");
        assert_eq!(option(Component::Jaccl, System::MacOs, Some("26.2")), "OFF");
        assert!(!has_metal(Component::MlxOfWheel, System::MacOs));
    }
}

//! The wheel of MLX for Linux: a known one with a libmlx that has jaccl.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use pins::{OfficialWheel, Pin};
use serde::Serialize;
use wheel::{
    SharedObject, Tag, Wheel,
    linux::{self, Fit, LIBMLX, OPENBLAS},
    overlay::Overlay,
};

use super::{
    Base, BaseFile, Built, OTHER_FOLDER, WheelRequest,
    pack::{self, Admitted, pack},
    refuse_unwritable,
};
use crate::{
    Toolchain,
    build::{Build, Request},
    error::{Error, IoContext, Result},
    official::pinned_wheel,
    platform::{Platform, System},
};

/// Where the licence of OpenBLAS is put.
const OPENBLAS_LICENCE: &str = "mlx/lib/libscipy_openblas.LICENSE.txt";

/// A base wheel whose library was read.
struct Opened {
    wheel: Wheel,
    sha256: String,
    libmlx: SharedObject,
    /// The official Python modules, by the name of their wheel.
    modules: BTreeMap<String, SharedObject>,
}

/// The official wheel of a pin with the library, for this machine's processor.
fn official_for_linux(pin: &Pin) -> Result<&OfficialWheel> {
    let here = ends();
    let is_it = |file: &str| file.starts_with("mlx_cpu-") && file.ends_with(&here);
    let what = format!("of `mlx-cpu` for Linux on {}", Platform::HERE.arch);
    pinned_wheel(pin, &what, is_it)
}

/// What a made wheel depends on beside its base.
#[derive(Serialize)]
struct Inputs<'a> {
    build: String,
    /// Our library is held against them; see [`Fit`].
    modules: Vec<&'a str>,
}

impl Toolchain {
    /// Makes the wheel that `request` describes for Linux on this machine's processor, and
    /// puts it into `out`, where it appears by rename when it is whole.
    ///
    /// The official wheels are split: `mlx` has the Python module and is the same with
    /// ours, `mlx-cpu` has the library. In it libmlx.so is replaced by that of the build,
    /// with OpenBLAS beside it; all else is the base's, byte by byte, but for what a wheel
    /// says of itself. The platform tag is the base's, or that of the oldest Linux on which
    /// ours runs if this is newer.
    ///
    /// # Errors
    /// When the base is damaged, is of another MLX, has no libmlx, is one of ours or cannot
    /// be fetched; when MLX does not compile; [`Error::Misfit`] when the library does not
    /// fit, and nothing is written.
    pub fn linux_wheel(&self, request: &WheelRequest<'_>, out: &Path) -> Result<Built> {
        refuse_unwritable(out, OTHER_FOLDER)?;
        self.stored_linux_wheel(request)?.handed_to(out)
    }

    /// [`Toolchain::linux_wheel`], left in the store.
    pub(crate) fn stored_linux_wheel(&self, request: &WheelRequest<'_>) -> Result<Built> {
        let WheelRequest { pin, series, .. } = request;
        if Platform::HERE.system != System::Linux {
            return Err(Error::Input {
                input: "a wheel for Linux".into(),
                problem: "it is compiled on Linux alone".into(),
                remedy: "run the command on Linux, or pass --platform macos".into(),
            });
        }
        let path = self.linux_base(request)?;
        let mut base = self.open_linux_base(pin, &path, &request.base)?;
        let version = pack::version(pin, *series, &base.wheel);
        let build = Request::mlx(pin, *series);
        let parts = Inputs {
            build: (self.recorded_inputs(&build)?).map_or_else(String::new, |it| it.key()),
            modules: modules_of(pin).map(|it| it.sha256.as_str()).collect(),
        };
        let file = BaseFile {
            path,
            sha256: base.sha256.clone(),
        };
        self.kept_wheel(file, &version, &parts, |what, folder| {
            let build = self.build(&build)?;
            self.progress.step("Packing", what);
            let files = self.linux_files(&build)?;
            base.replace(request, &build, files, version.clone(), folder)
        })
    }

    /// The official wheel with the Python module of a pin for a CPython of this platform,
    /// named as in a wheel's tag (`cp312`).
    ///
    /// # Errors
    /// When the pin lists none, and as [`Toolchain::official_wheel`].
    pub fn front_wheel(&self, pin: &Pin, python: &str) -> Result<PathBuf> {
        let here = ends();
        let is_it = |file: &str| {
            file.starts_with("mlx-")
                && file.contains(&format!("-{python}-"))
                && file.ends_with(&here)
        };
        let what = format!("of `mlx` for {python} on this platform");
        self.official_wheel(pinned_wheel(pin, &what, is_it)?)
    }

    fn linux_base(&self, request: &WheelRequest<'_>) -> Result<PathBuf> {
        match &request.base {
            Base::File(file) => std::path::absolute(file).at("resolve", file),
            Base::Official => self.official_wheel(official_for_linux(request.pin)?),
        }
    }

    fn open_linux_base(&self, pin: &Pin, path: &Path, base: &Base) -> Result<Opened> {
        let mut wheel = Wheel::open(path)?;
        let admitted = Admitted {
            names: ["mlx", "mlx_cpu"],
            libraries: &[LIBMLX],
            instead: "take the wheel of mlx-cpu",
        };
        admitted.check(pin, &wheel)?;
        let sha256 = match base {
            // It was held against this hash when it was taken from the store.
            Base::Official => official_for_linux(pin)?.sha256.clone(),
            Base::File(_) => {
                wheel.verify()?;
                Wheel::sha256(path)?.0
            }
        };
        let libmlx = SharedObject::parse(LIBMLX, &wheel.read(LIBMLX)?)?;
        let mut modules = modules_in(&mut wheel)?;
        if modules.is_empty() {
            for official in modules_of(pin) {
                let mut front = Wheel::open(&self.official_wheel(official)?)?;
                modules.extend(modules_in(&mut front)?);
            }
        }
        Ok(Opened {
            wheel,
            sha256,
            libmlx,
            modules,
        })
    }

    /// What goes into the wheel, by its path there.
    fn linux_files(&self, build: &Build) -> Result<BTreeMap<String, Vec<u8>>> {
        let lib = build.prefix.join("lib");
        let tools = self.tools()?;
        [
            (LIBMLX, lib.join("libmlx.so")),
            (OPENBLAS, lib.join("libscipy_openblas.so")),
            (OPENBLAS_LICENCE, tools.openblas_licence()?),
        ]
        .into_iter()
        .map(|(path, file)| Ok((path.to_owned(), fs::read(&file).at("read", &file)?)))
        .collect()
    }
}

/// How the files of official wheels for this platform end.
fn ends() -> String {
    match Platform::HERE.system {
        System::Linux => format!("_{}.whl", Platform::HERE.arch),
        System::MacOs => "_arm64.whl".to_owned(),
    }
}

/// The official wheels with the Python modules of a pin for this platform.
fn modules_of(pin: &Pin) -> impl Iterator<Item = &pins::OfficialWheel> {
    let here = ends();
    (pin.wheels.iter()).filter(move |it| it.file.starts_with("mlx-") && it.file.ends_with(&here))
}

/// The Python modules in a wheel, each by the name of the wheel.
fn modules_in(wheel: &mut Wheel) -> Result<BTreeMap<String, SharedObject>> {
    let is_module = |path: &&str| path.starts_with("mlx/core.") && path.ends_with(".so");
    let paths: Vec<String> = wheel
        .members()
        .filter(is_module)
        .map(str::to_owned)
        .collect();
    let mut modules = BTreeMap::new();
    for path in paths {
        let module = SharedObject::parse(&path, &wheel.read(&path)?)?;
        modules.insert(wheel.name().to_string(), module);
    }
    Ok(modules)
}

impl Opened {
    /// Holds our library against the base's, and writes the wheel into `folder`.
    fn replace(
        &mut self,
        request: &WheelRequest<'_>,
        build: &Build,
        files: BTreeMap<String, Vec<u8>>,
        version: pep440_rs::Version,
        folder: &Path,
    ) -> Result<Built> {
        let mut libraries = BTreeMap::new();
        for path in [LIBMLX, OPENBLAS] {
            let library = SharedObject::parse(path, &files[path])?;
            libraries.insert(path.to_owned(), library);
        }
        let ours = &libraries[LIBMLX];
        let base_tag = self.wheel.name().tag.clone();
        let tag = match linux::platform(&ours.machine, &linux::needs(libraries.values())) {
            Ok(platform) if !linux::covers(&base_tag.platform, &platform) => Tag {
                platform,
                ..base_tag
            },
            // Where no tag fits, the check says why.
            _ => base_tag,
        };
        let fit = Fit {
            ours,
            content: &files[LIBMLX],
            base: &self.libmlx,
            libraries: &libraries,
            modules: &self.modules,
            key: &build.manifest.key,
            platform: &tag.platform,
        };
        let checks = fit.checks();
        let overlay = Overlay {
            version,
            tag,
            files,
            manifest: Vec::new(),
        };
        let base = (&mut self.wheel, self.sha256.as_str());
        pack(request, base, build, overlay, checks, folder)
    }
}

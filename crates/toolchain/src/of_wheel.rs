//! MLX for macOS without a Metal compiler: libmlx, its kernels and its headers of the official
//! wheel, jaccl of the series beside it, and mlx-c compiled against both.
//!
//! A Mac makes it with its own compiler. Elsewhere zig does, which is how its mistakes show on
//! a machine that is no Mac.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use pins::{OfficialWheel, Pin};
use wheel::{
    Dylib, Wheel,
    macos::{LIBJACCL, LIBMLX},
    mlx_c::{self, MlxC},
};

use crate::{
    Toolchain,
    build::{HEADERS, Request, mirror},
    dylib::DylibTarget,
    error::{Error, IoContext, Result},
    manifest::{Component, Inputs},
    official,
    wheel::{Base, macos::Opened, pack},
};

/// How the file of an official wheel with jaccl ends. Those for macOS 14 and 15 have none.
const OFFICIAL: &str = "-macosx_26_0_arm64.whl";
/// Where wheels have headers.
const INCLUDE: &str = "mlx/include/";
/// Where wheels have what runs on the GPU.
const METALLIB: &str = "mlx/lib/mlx.metallib";

/// The official wheel of a pin with MLX and jaccl for macOS.
///
/// # Errors
/// [`Error::Input`] when the pin lists none.
pub(crate) fn official_for_macos(pin: &Pin) -> Result<&OfficialWheel> {
    let is_it = |file: &str| file.starts_with("mlx_metal-") && file.ends_with(OFFICIAL);
    official::pinned_wheel(pin, "for macOS 26", is_it)
}

/// What mlx-c is compiled against and held against.
pub(crate) struct OfWheel {
    /// What it is compiled for.
    pub target: DylibTarget,
    libjaccl: Dylib,
    libmlx: Dylib,
    file: PathBuf,
}

impl Toolchain {
    /// Puts into `prefix` what is not compiled with mlx-c, and into `wheel` what mlx-c is
    /// compiled against, at the paths that Ninja will remember.
    pub(crate) fn lay_out_wheel(
        &self,
        request: &Request<'_>,
        inputs: &Inputs,
        prefix: &Path,
        wheel: &Path,
    ) -> Result<OfWheel> {
        let pin = request.pin;
        let file = self.official_wheel(official_for_macos(pin)?)?;
        let mut base = self.open_base(pin, &file, &Base::Official)?;
        let what = file.display().to_string();
        let libraries = (&base.libjaccl, &base.libmlx);
        let fitted = self.fitted_dylib(pin, request.series, libraries, &what)?;
        if fitted.build.manifest.inputs.patched_tree != inputs.patched_tree {
            let path = pin.folder.clone();
            return Err(Error::Edited { path });
        }
        self.progress.step("Unpacking", &what);
        let headers = base.wheel.members().filter(|it| it.starts_with(INCLUDE));
        let headers: Vec<String> = headers.map(str::to_owned).collect();
        for member in headers.iter().map(String::as_str).chain([LIBMLX]) {
            unpack(&mut base.wheel, member, prefix)?;
        }
        mirror(prefix, wheel)?;
        unpack(&mut base.wheel, METALLIB, prefix)?;
        write(&prefix.join(in_prefix(LIBJACCL)), fitted.library.content())?;
        let (ours, rails) = (self.root.join(HEADERS), Path::new("rails"));
        mirror(&ours.join(rails), &prefix.join("include").join(rails))?;
        self.progress.finish();
        let Opened {
            libjaccl,
            libmlx,
            mut target,
            ..
        } = base;
        let streams = mlx_c::LIBCXX_STREAMS.map(str::to_owned);
        target.libcxx.extend(streams);
        Ok(OfWheel {
            target,
            libjaccl,
            libmlx,
            file,
        })
    }
}

impl OfWheel {
    /// Refuses a libmlxc that does not fit to the wheel's libraries.
    pub fn check(&self, request: &Request<'_>, prefix: &Path) -> Result<()> {
        let library = Component::MlxOfWheel.library();
        let file = prefix.join("lib").join(&library);
        let content = fs::read(&file).at("read", &file)?;
        let ours = Dylib::parse(&library, content)?;
        let fit = MlxC {
            ours: &ours,
            libmlx: &self.libmlx,
            libjaccl: &self.libjaccl,
            functions: &functions(&prefix.join("include/mlx/c"))?,
            // Apple's SDK knows what each macOS has; of zig's that is not known.
            by_sdk: !request.component.is_cross(),
        };
        let base = self.file.display().to_string();
        pack::refuse_misfit(&library, &base, &fit.checks()?)
    }
}

/// What the headers in a folder declare.
fn functions(folder: &Path) -> Result<BTreeSet<String>> {
    let mut functions = BTreeSet::new();
    for file in fs::read_dir(folder).at("read", folder)?.flatten() {
        let file = file.path();
        let text = fs::read_to_string(&file).at("read", &file)?;
        functions.extend(mlx_c::declared(&text));
    }
    Ok(functions)
}

/// Where a prefix has a file of a wheel.
fn in_prefix(member: &str) -> &str {
    member.strip_prefix("mlx/").unwrap_or(member)
}

fn unpack(wheel: &mut Wheel, member: &str, prefix: &Path) -> Result<()> {
    write(&prefix.join(in_prefix(member)), &wheel.read(member)?)
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).at("create", folder)?;
    }
    fs::write(file, content).at("write", file)
}

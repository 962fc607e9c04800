//! The wheel of MLX for a Mac: a known one with another libjaccl.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pins::{Pin, Series};
use serde::Serialize;
use wheel::{
    Check, Dylib, Wheel,
    macos::{self, Fit, LIBJACCL, LIBMLX},
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
    dylib::DylibTarget,
    error::{Error, IoContext, Result},
    of_wheel::official_for_macos,
};

/// A base wheel whose libraries were read.
pub(crate) struct Opened {
    pub wheel: Wheel,
    sha256: String,
    pub libjaccl: Dylib,
    pub libmlx: Dylib,
    pub target: DylibTarget,
}

/// A library that can take another's place.
pub(crate) struct Fitted {
    pub library: Dylib,
    pub build: Build,
    pub checks: Vec<Check>,
}

/// The builds that a made wheel depends on.
#[derive(Serialize)]
struct Inputs {
    library: String,
    /// It is held against the base's library; see [`Fit`].
    stock: String,
}

impl Toolchain {
    /// Makes the wheel that `request` describes for macOS, on any system, and puts it into
    /// `out`, where it appears by rename when it is whole.
    ///
    /// Everything in it is the base's, byte by byte, but for `libjaccl.dylib`, which is
    /// compiled from the patched tree, and for what a wheel says of itself: the version
    /// becomes `X+rails.N` with the pin's revision. The tags stay: a wheel for macOS 26.2
    /// would be tagged `macosx_26_2` by its libraries, but pip and uv know no minor version
    /// of macOS since 11 and would install it nowhere.
    ///
    /// # Errors
    /// When the base is damaged, is of another MLX, has no jaccl, is one of ours or cannot be
    /// fetched; when the library does not compile; [`Error::Misfit`] when it does not fit, and
    /// nothing is written.
    pub fn macos_wheel(&self, request: &WheelRequest<'_>, out: &Path) -> Result<Built> {
        refuse_unwritable(out, OTHER_FOLDER)?;
        self.stored_macos_wheel(request)?.handed_to(out)
    }

    /// [`Toolchain::macos_wheel`], left in the store.
    pub(crate) fn stored_macos_wheel(&self, request: &WheelRequest<'_>) -> Result<Built> {
        let WheelRequest { pin, series, .. } = request;
        let path = self.base_file(request)?;
        let mut base = self.open_base(pin, &path, &request.base)?;
        let target = base.target.clone();
        let inputs_of = |series| {
            let request = Request::dylib(pin, series, &target);
            let inputs = self.recorded_inputs(&request)?;
            Ok::<_, Error>(inputs.map(|it| it.key()).unwrap_or_default())
        };
        let version = pack::version(pin, *series, &base.wheel);
        let parts = Inputs {
            library: inputs_of(*series)?,
            stock: inputs_of(Series::Stock)?,
        };
        let file = BaseFile {
            path,
            sha256: base.sha256.clone(),
        };
        self.kept_wheel(file, &version, &parts, |what, folder| {
            let libraries = (&base.libjaccl, &base.libmlx);
            let fitted = self.fitted_dylib(pin, *series, libraries, what)?;
            self.progress.step("Packing", what);
            base.replace(request, fitted, version.clone(), folder)
        })
    }

    /// Our library in place of `libjaccl`, beside `libmlx`: compiled where the store does not
    /// have it, and held against both.
    ///
    /// # Errors
    /// Those of [`Toolchain::build`]; [`Error::Misfit`] when a check does not hold.
    pub(crate) fn fitted_dylib(
        &self,
        pin: &Pin,
        series: Series,
        (libjaccl, libmlx): (&Dylib, &Dylib),
        base: &str,
    ) -> Result<Fitted> {
        let target = DylibTarget::of(libjaccl, libmlx);
        let read = |build: &Build| {
            let file = build.library();
            let content = std::fs::read(&file).at("read", &file)?;
            Ok::<_, Error>(Dylib::parse(LIBJACCL, content)?)
        };
        let build = self.build(&Request::dylib(pin, series, &target))?;
        let stock = read(&self.build(&Request::dylib(pin, Series::Stock, &target))?)?;
        let library = read(&build)?;
        let fit = Fit {
            ours: &library,
            base: libjaccl,
            libmlx,
            stock: &stock,
        };
        let checks = fit.checks()?;
        pack::refuse_misfit(LIBJACCL, base, &checks)?;
        Ok(Fitted {
            library,
            build,
            checks,
        })
    }

    /// The base as a file.
    fn base_file(&self, request: &WheelRequest<'_>) -> Result<PathBuf> {
        match &request.base {
            Base::File(file) => std::path::absolute(file).at("resolve", file),
            Base::Official => self.official_wheel(official_for_macos(request.pin)?),
        }
    }

    pub(crate) fn open_base(&self, pin: &Pin, path: &Path, base: &Base) -> Result<Opened> {
        let mut wheel = Wheel::open(path)?;
        let admitted = Admitted {
            names: ["mlx", "mlx_metal"],
            libraries: &[LIBJACCL, LIBMLX],
            instead: "take the wheel of MLX for macOS 26 (mlx-metal, macosx_26_0_arm64)",
        };
        admitted.check(pin, &wheel)?;
        let sha256 = match base {
            // It was held against this hash when it was taken from the store.
            Base::Official => official_for_macos(pin)?.sha256.clone(),
            Base::File(_) => {
                wheel.verify()?;
                Wheel::sha256(path)?.0
            }
        };
        let libjaccl = Dylib::parse(LIBJACCL, wheel.read(LIBJACCL)?)?;
        let libmlx = Dylib::parse(LIBMLX, wheel.read(LIBMLX)?)?;
        macos::admit(path, &libjaccl, &libmlx, &release_of(pin))?;
        let target = DylibTarget::of(&libjaccl, &libmlx);
        Ok(Opened {
            wheel,
            sha256,
            libjaccl,
            libmlx,
            target,
        })
    }
}

/// The release of MLX that a pin is.
pub(crate) fn release_of(pin: &Pin) -> pep440_rs::Version {
    (pin.version.parse()).expect("three numbers, as the pin's loading made sure, are a version")
}

impl Opened {
    /// Writes the wheel with our library into `folder`.
    fn replace(
        &mut self,
        request: &WheelRequest<'_>,
        fitted: Fitted,
        version: pep440_rs::Version,
        folder: &Path,
    ) -> Result<Built> {
        let Fitted {
            library,
            build,
            checks,
        } = fitted;
        let overlay = Overlay {
            version,
            tag: self.wheel.name().tag.clone(),
            files: BTreeMap::from([(LIBJACCL.to_owned(), library.content().to_vec())]),
            manifest: Vec::new(),
        };
        let base = (&mut self.wheel, self.sha256.as_str());
        pack(request, base, &build, overlay, checks, folder)
    }
}

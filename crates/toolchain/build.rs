//! Hands on the name that `cc` and `cmake` know the platform by, which only build scripts
//! are given.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    println!("cargo::rustc-env=TARGET_TRIPLE={target}");
}

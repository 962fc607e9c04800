//! On macOS the linker must accept Python's symbols as undefined: the interpreter
//! provides them.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}

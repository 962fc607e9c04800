use std::{fmt, str::FromStr};

/// The element types that jaccl reduces (`enum Dtype` in `jaccl/group.h`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[repr(i32)]
pub enum Dtype {
    /// One byte, 0 or 1.
    #[serde(rename = "bool")]
    Bool = 0,
    /// Signed, 8 bits.
    #[serde(rename = "i8")]
    Int8,
    /// Signed, 16 bits.
    #[serde(rename = "i16")]
    Int16,
    /// Signed, 32 bits.
    #[serde(rename = "i32")]
    Int32,
    /// Signed, 64 bits.
    #[serde(rename = "i64")]
    Int64,
    /// Unsigned, 8 bits.
    #[serde(rename = "u8")]
    UInt8,
    /// Unsigned, 16 bits.
    #[serde(rename = "u16")]
    UInt16,
    /// Unsigned, 32 bits.
    #[serde(rename = "u32")]
    UInt32,
    /// Unsigned, 64 bits.
    #[serde(rename = "u64")]
    UInt64,
    /// IEEE half precision.
    #[serde(rename = "f16")]
    Float16,
    /// The upper half of a `Float32`.
    #[serde(rename = "bf16")]
    BFloat16,
    /// IEEE single precision.
    #[serde(rename = "f32")]
    Float32,
    /// IEEE double precision.
    #[serde(rename = "f64")]
    Float64,
    /// Two `Float32`, real and imaginary.
    #[serde(rename = "c64")]
    Complex64,
}

impl Dtype {
    /// Every type, in jaccl's order.
    pub const ALL: [Dtype; 14] = [
        Dtype::Bool,
        Dtype::Int8,
        Dtype::Int16,
        Dtype::Int32,
        Dtype::Int64,
        Dtype::UInt8,
        Dtype::UInt16,
        Dtype::UInt32,
        Dtype::UInt64,
        Dtype::Float16,
        Dtype::BFloat16,
        Dtype::Float32,
        Dtype::Float64,
        Dtype::Complex64,
    ];

    /// The type's usual short name: `u8`, `bf16`, `c64`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "bool",
            Dtype::Int8 => "i8",
            Dtype::Int16 => "i16",
            Dtype::Int32 => "i32",
            Dtype::Int64 => "i64",
            Dtype::UInt8 => "u8",
            Dtype::UInt16 => "u16",
            Dtype::UInt32 => "u32",
            Dtype::UInt64 => "u64",
            Dtype::Float16 => "f16",
            Dtype::BFloat16 => "bf16",
            Dtype::Float32 => "f32",
            Dtype::Float64 => "f64",
            Dtype::Complex64 => "c64",
        }
    }

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::Int8 | Dtype::UInt8 => 1,
            Dtype::Int16 | Dtype::UInt16 | Dtype::Float16 | Dtype::BFloat16 => 2,
            Dtype::Int32 | Dtype::UInt32 | Dtype::Float32 => 4,
            Dtype::Int64 | Dtype::UInt64 | Dtype::Float64 | Dtype::Complex64 => 8,
        }
    }

    /// The alignment of an element's address, in bytes.
    pub const fn align(self) -> usize {
        match self {
            Dtype::Complex64 => Dtype::Float32.size(),
            _ => self.size(),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Dtype::ALL.map(Dtype::name).join(", ");
        Dtype::ALL
            .into_iter()
            .find(|dtype| dtype.name() == name)
            .ok_or_else(|| format!("unknown dtype {name:?}; jaccl has {}", known()))
    }
}

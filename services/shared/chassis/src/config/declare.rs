//! `config!`: a struct, its defaults, and the table of its keys with their doc comments, written once.
//!
//! A table that is made from the doc comments cannot fall behind them. A field with a default is a value; a field
//! without one is a section, whose type was declared by `config!` too.

/// One key of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    /// The lines of its doc comment, as written, each with its leading space.
    pub doc: &'static [&'static str],
    pub holds: Holds,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    Value,
    Section(&'static [Key]),
}

/// A struct whose keys are known with their documentation. Made by `config!`.
pub trait Documented {
    /// What the struct is for.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order in which they are written.
    const KEYS: &'static [Key];
}

/// Declares a struct of settings. Every field has a doc comment; `= default` makes it a value, its absence a section.
#[macro_export]
macro_rules! config {
    (@default) => { ::std::default::Default::default() };
    (@default $default:expr) => { $default };
    (@holds $type:ty) => {
        $crate::config::Holds::Section(<$type as $crate::config::Documented>::KEYS)
    };
    (@holds $type:ty, $default:expr) => { $crate::config::Holds::Value };
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field_vis:vis $field:ident : $type:ty $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, $crate::serde::Deserialize, $crate::serde::Serialize)]
        #[serde(crate = "p92_chassis::serde", default, deny_unknown_fields)]
        $vis struct $name {
            $( $(#[doc = $doc])+ $field_vis $field: $type, )*
        }

        impl ::std::default::Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::config!(@default $($default)?), )* }
            }
        }

        impl $crate::config::Documented for $name {
            const ABOUT: &'static [&'static str] = &[$($about),+];
            const KEYS: &'static [$crate::config::Key] = &[
                $( $crate::config::Key {
                    name: ::std::stringify!($field),
                    doc: &[$($doc),+],
                    holds: $crate::config!(@holds $type $(, $default)?),
                }, )*
            ];
        }
    };
}

//! What a table is: a name, a class, the message of its rows, and the query that it serves.

use std::fmt;

/// How a table is treated by backup and rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The truth, and the index by which the truth is loaded.
    Log,
    /// Claims, tokens, keys, cursors, checkpoints: backed up, never rebuilt.
    State,
    /// A function of events: may be dropped and rebuilt. Kept twice, as `_a` and `_b`.
    View,
}

/// A table as a service declares it, once, in its `tables.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Unique in the installation, `<service>_<thing>`, lower snake case, at most 40 bytes.
    pub name: &'static str,
    pub class: Class,
    /// Full name of the protobuf message of a row, by which tools show it decoded.
    pub row: &'static str,
    /// Partition key and clustering key in words, and the query that they serve.
    pub serves: &'static str,
}

/// Which of a table's physical tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Logs and state have one.
    Only,
    A,
    B,
}

impl Side {
    /// The other side of a view.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
            Self::Only => Self::Only,
        }
    }
}

/// One physical table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableRef {
    pub table: &'static Table,
    pub side: Side,
}

impl Table {
    /// The one physical table of a log or of state.
    #[must_use]
    pub const fn only(&'static self) -> TableRef {
        TableRef { table: self, side: Side::Only }
    }

    /// One of the two physical tables of a view.
    #[must_use]
    pub const fn side(&'static self, side: Side) -> TableRef {
        TableRef { table: self, side }
    }
}

impl TableRef {
    /// The suffix that tells the sides apart.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self.side {
            Side::Only => "",
            Side::A => "_a",
            Side::B => "_b",
        }
    }
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.table.name, self.suffix())
    }
}

impl fmt::Debug for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

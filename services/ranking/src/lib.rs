//! Trends, and the explanation of each ranked item.

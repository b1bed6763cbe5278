//! The only binary: chooses services, wires transports.

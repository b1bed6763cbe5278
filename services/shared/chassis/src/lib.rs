//! What a process needs before it has a purpose: config, telemetry, health, transport, shutdown.

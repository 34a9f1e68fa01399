//! A LiveKit-compatible server for one machine.

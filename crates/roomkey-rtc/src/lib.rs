//! One WebRTC peer connection as LiveKit uses it, sans-IO.

//! DTLS by `dimpl`, with a configuration that is built once.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::crypto::rust_crypto;
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};

use super::certificate;

/// The first wait before an unanswered flight is sent again; it doubles.
const FLIGHT_START_RTO: Duration = Duration::from_millis(200);

/// How often a flight is sent again.
const FLIGHT_RETRIES: usize = 8;

/// How many packets of the other side's may wait for their turn, and of ours to be taken.
const QUEUE: usize = 64;

/// Makes one side of a DTLS handshake.
#[derive(Debug)]
pub(super) struct Dtls;

impl DtlsProvider for Dtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        certificate::self_signed()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "LiveKit's peers speak DTLS 1.2")]
    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        dtls_version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let (config, certificate) = (config()?, cert.clone());
        let dtls = match dtls_version {
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, certificate, now),
            DtlsVersion::Auto => dimpl::Dtls::new_auto(config, certificate, now),
            _ => dimpl::Dtls::new_12(config, certificate, now),
        };
        Ok(Box::new(Instance(dtls)))
    }
}

/// Building a configuration proves every cipher of the provider, 4 ms: it is done once. Its MTU is dimpl's default, which
/// is str0m's too.
fn config() -> Result<Arc<dimpl::Config>, CryptoError> {
    static CONFIG: OnceLock<Option<Arc<dimpl::Config>>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            dimpl::Config::builder()
                .with_crypto_provider(rust_crypto::default_provider())
                .flight_start_rto(FLIGHT_START_RTO)
                .flight_retries(FLIGHT_RETRIES)
                .max_queue_rx(QUEUE)
                .max_queue_tx(QUEUE)
                // It would prove that the other side has its address, as ICE has done by then, for another round trip.
                .use_server_cookie(false)
                .build()
                .ok()
                .map(Arc::new)
        })
        .clone()
        .ok_or_else(|| CryptoError::Other("the ciphers of DTLS failed their self-test".to_owned()))
}

struct Instance(dimpl::Dtls);

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dtls").field("active", &self.0.is_active()).finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

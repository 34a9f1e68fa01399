//! A connection to a host that has several addresses, of which some may not answer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{self, TcpStream};

/// How long an address has before the next is tried beside it (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects to the first address that answers, as "happy eyeballs" do (RFC 8305): a network that drops IPv6 in silence costs a
/// quarter of a second.
///
/// Dropping the future gives all attempts up.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = alternating(net::lookup_host((host, port)).await?.collect());
    first(addresses, TcpStream::connect).await
}

/// The families in turn, beginning with the one that the system prefers (RFC 8305 section 4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(preferred) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (these, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == preferred);
    let mut others = others.into_iter();
    let mut ordered: Vec<_> = these.into_iter().flat_map(|address| [Some(address), others.next()]).flatten().collect();
    ordered.extend(others);
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// What succeeds first, of attempts that begin one after the other: once the one before has failed, or takes its time.
async fn first<T, F>(addresses: Vec<SocketAddr>, attempt: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        match addresses.next() {
            Some(address) => attempts.push(attempt(address)),
            None if attempts.is_empty() => return Err(refused),
            None => {}
        }
        let wait = if addresses.len() == 0 { Duration::MAX } else { ATTEMPT_DELAY };
        // One that takes its time goes on beside the next.
        while let Ok(Some(outcome)) = tokio::time::timeout(wait, attempts.next()).await {
            match outcome {
                Ok(connected) => return Ok(connected),
                Err(error) => refused = error,
            }
            if addresses.len() > 0 || attempts.is_empty() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 443).into()
    }

    #[test]
    fn both_families_have_their_turn() {
        let (v4, v6) = ([address(1), address(2)], ["[2001:db8::1]:443", "[2001:db8::2]:443", "[2001:db8::3]:443"]);
        let v6 = v6.map(|address| address.parse::<SocketAddr>().unwrap());
        assert_eq!(alternating([&v6[..], &v4[..]].concat()), [v6[0], v4[0], v6[1], v4[1], v6[2]]);
        assert_eq!(alternating([&v4[..], &v6[..1]].concat()), [v4[0], v6[0], v4[1]]);
        assert_eq!(alternating(vec![address(1); 40]).len(), MAX_ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_never_answers_costs_a_quarter_of_a_second() {
        let silent = |at| async move { if at == address(1) { pending().await } else { Ok(at) } };
        let mut connected = pin!(first(vec![address(1), address(2)], silent));
        assert!(timeout(ATTEMPT_DELAY - MOMENT, &mut connected).await.is_err());
        assert_eq!(timeout(2 * MOMENT, connected).await.unwrap().unwrap(), address(2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_costs_nothing_and_one_that_is_slow_is_still_taken() {
        let mut connected = pin!(first((1..=4).map(address).collect(), |at| async move {
            match at {
                at if at == address(2) => tokio::time::sleep(Duration::from_secs(3)).await,
                at if at == address(4) => pending().await,
                _ => return Err(io::ErrorKind::ConnectionRefused.into()),
            }
            Ok(at)
        }));
        assert!(timeout(Duration::from_secs(3) - MOMENT, &mut connected).await.is_err());
        assert_eq!(timeout(2 * MOMENT, connected).await.unwrap().unwrap(), address(2));
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_refuse_the_last_refusal_is_told_and_a_host_without_addresses_is_one_too() {
        let refuse = |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) };
        let refused = first(vec![address(1), address(2)], refuse).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first(Vec::new(), refuse).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

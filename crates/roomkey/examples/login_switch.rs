//! Who is logged in changes: a source whose backend knows users by a session tells them apart by a partition.
//!
//! `cargo run --example login_switch`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use roomkey::{BoxError, Credentials, FetchErrorKind, FetchOptions, TokenSource, provider_fn};
use roomkey_token::{AccessToken, Signer, VideoGrant};

/// The application's login: one user at a time.
#[derive(Clone)]
struct Login(Arc<RwLock<Arc<str>>>);

impl Login {
    fn user(&self) -> Arc<str> {
        Arc::clone(&self.0.read().expect("nobody panics while they hold it"))
    }

    fn switch_to(&self, user: &str) {
        *self.0.write().expect("nobody panics while they hold it") = user.into();
        println!("-- {user} logs in");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let login = Login(Arc::new(RwLock::new("alice".into())));
    let signer = Arc::new(Signer::new("devkey", "an-api-secret-for-the-examples-only")?);

    // The function depends on more than its options: on who is logged in. The partition says so.
    let session = login.clone();
    let source = TokenSource::builder(provider_fn(move |_options: FetchOptions| {
        let (user, signer) = (session.user(), Arc::clone(&signer));
        async move {
            println!("   -> backend asked by {user}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            let token = AccessToken::new(&*user).with_video(VideoGrant::join("lobby")).sign(&signer, now())?;
            Ok(Credentials::new("ws://localhost:7880", token))
        }
    }))
    .partition({
        let login = login.clone();
        move || login.user()
    })
    .build();

    let lobby = FetchOptions::new().with_room_name("lobby");
    println!("a token for {}", identity(&source.fetch(&lobby).await?)?);
    login.switch_to("bob");
    println!("a token for {}: Alice's is held, and not for Bob", identity(&source.fetch(&lobby).await?)?);
    login.switch_to("alice");
    println!("a token for {}: hers again, and nobody was asked", identity(&source.fetch(&lobby).await?)?);

    source.invalidate_all();
    let (fetched, ()) = tokio::join!(source.fetch(&lobby), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        login.switch_to("bob");
    });
    match fetched {
        Err(error) if error.kind() == FetchErrorKind::PartitionChanged => {
            println!("no token: {error}");
        }
        _ => return Err("a token for somebody who is not logged in any more".into()),
    }
    println!("a token for {}", identity(&source.fetch(&lobby).await?)?);
    Ok(())
}

fn identity(credentials: &Credentials) -> Result<&str, BoxError> {
    Ok(credentials.claims()?.identity())
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn now() -> SystemTime {
    SystemTime::now()
}

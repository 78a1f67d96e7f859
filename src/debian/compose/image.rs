//! Config of an image that is composed from packages, with the bytes of debuerreotype's `oci-image.sh` (0.17): the config of
//! a base is that of Docker Hub's image of the same packages.

use serde::Serialize;

use crate::digest::Digest;
use crate::dpkg::Architecture;
use crate::platform::Platform;

/// What made the base.
const BASE: &str = "debuerreotype 0.17";
/// Where programs are looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A layer for the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComposedLayer {
    /// SHA-256 of its tar.
    pub(crate) diff_id: Digest,
    /// The requested packages; `None` of the base.
    pub(crate) request: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Document {
    config: Defaults,
    created: String,
    history: Vec<Step>,
    rootfs: RootFs,
    os: &'static str,
    architecture: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Defaults {
    env: [&'static str; 1],
    entrypoint: [&'static str; 0],
    cmd: [&'static str; 1],
}

#[derive(Serialize)]
struct Step {
    created: String,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

/// The config of an image of these `layers`, lowest first, for `suite` and `epoch` in seconds since 1970.
///
/// # Errors
///
/// The epoch is after the year 262,000.
pub(crate) fn config(
    platform: Platform,
    suite: &str,
    epoch: i64,
    layers: &[ComposedLayer],
) -> serde_json::Result<Vec<u8>> {
    let time = chrono::DateTime::from_timestamp(epoch, 0);
    let time = time.ok_or_else(|| serde::ser::Error::custom("the epoch is not a time"))?;
    let created = time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let debian = Architecture::of(platform);
    let step = |layer: &ComposedLayer| match &layer.request {
        None => Step {
            created: created.clone(),
            created_by: format!("# debian.sh --arch '{}' out/ '{suite}' '@{epoch}'", debian.as_str()),
            comment: Some(BASE),
        },
        Some(request) => {
            Step { created: created.clone(), created_by: format!("# hermes: {}", request.join(" ")), comment: None }
        }
    };
    let (architecture, variant) = platform.architecture();
    let mut config = serde_json::to_vec(&Document {
        config: Defaults { env: [PATH], entrypoint: [], cmd: ["bash"] },
        created: created.clone(),
        history: layers.iter().map(step).collect(),
        rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| layer.diff_id).collect() },
        os: "linux",
        architecture,
        // Debian states the only variant of this platform.
        variant: if platform == Platform::Arm64 { Some("v8") } else { variant },
    })?;
    config.push(b'\n');
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(diff_id: &str) -> ComposedLayer {
        ComposedLayer { diff_id: Digest::from_hex(diff_id).unwrap(), request: None }
    }

    /// `diff_id` and config (the image id) of `debian:bookworm-20260713` on Docker Hub.
    #[test]
    fn the_ids_of_a_base_are_those_of_docker_hub() {
        for (platform, diff_id, id) in [
            (
                Platform::Amd64,
                "f2c42f900cb3b12d5456f76b4fa6454a52df3981323d3a1b1a17fe4c4955ab4a",
                "a3fed23063cd6781681a3d48f0912e9ae9549ff02a0ae4f0f276dcb6d85118bc",
            ),
            (
                Platform::I386,
                "972f1c6416b9275be4e9604d31dbd767d1ec22a51dfcca1d08f8dd3e0b21d9a2",
                "5efb273820f5dd0b572cf1eae24935c5c179a8011b29d0bab7e2621ca808c116",
            ),
            (
                Platform::ArmV5,
                "1a95b08aeb4c772a14097dbec0ad11f3231748d2c3e1d8d3757a1d49c4d6f9f1",
                "656ff98cbfeb0b4fcbcbcece997062c36578df494f2a6bdf222f4345c2f44b3c",
            ),
            (
                Platform::ArmV7,
                "492bd67b303e3b03418e7728490c1fa7058c085b6fa1bd70c4a60e5bd7106af4",
                "36ba60a08cb5f816c5c1e5f88ca25f84d467931749046337184e505ae0bae4a4",
            ),
            (
                Platform::Arm64,
                "e18c028dc018533df422ccc01673b0c502b71c91718e329fc32823cd987c35b1",
                "fb4609219e61d2a3dc5ad2c041db51fc4d98551e002005ee95c361b18b3b8f0b",
            ),
            (
                Platform::Ppc64le,
                "3da4cd531549e8368e3b64eaa597135ef35f11a85451b3619a0d69ad28ee03bf",
                "e071ebd22249226c2cfafb1c9edc48667087c9a6ed3dc1ba58132ff1186b730d",
            ),
            (
                Platform::Mips64le,
                "1cf595c3ae0c15b866d50210f0dcb3eeebe9aa89be28082ff1be2f13d11f6fbc",
                "9282ee12f1e1a1b3cef027f481cce7dc692ebd1babe784ecffeb0a21bfa9700a",
            ),
            (
                Platform::S390x,
                "b39fe42d4f44d8db663082b60400152da7e56abc1d475cfcb3129cb705efbdbf",
                "d5cfc6c3dded1f0582f02d6dd4231f9ffc820e27ec2ecff00944dbafb9a81ca5",
            ),
        ] {
            let config = config(platform, "bookworm", 1_783_900_800, &[base(diff_id)]).unwrap();
            assert_eq!(Digest::of(&config).hex(), id, "{platform}");
        }
    }

    #[test]
    fn further_packages_are_a_step_of_their_own() {
        let low = base("f2c42f900cb3b12d5456f76b4fa6454a52df3981323d3a1b1a17fe4c4955ab4a");
        let high = ComposedLayer {
            diff_id: Digest::of(b"high"),
            request: Some(vec!["build-essential".into(), "cmake=3.25.1-1".into()]),
        };
        let config = config(Platform::Amd64, "bookworm", 1_783_900_800, &[low.clone(), high.clone()]).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["history"][1]["created_by"], "# hermes: build-essential cmake=3.25.1-1");
        let ids = [low.diff_id, high.diff_id].map(|id| serde_json::to_value(id).unwrap());
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::Value::from(ids.to_vec()));
    }
}

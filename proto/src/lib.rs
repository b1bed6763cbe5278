//! The contract: every message that services, clients and logs may know of each other, generated from `p92/`.
//!
//! It holds no behaviour. What a message means stands in its `.proto` file; how messages may change in `README.md`.

// Generated code answers to the generator's style, not to ours.
#![allow(clippy::all, clippy::pedantic, rustdoc::all)]

/// Every file of the contract as an encoded `google.protobuf.FileDescriptorSet`, for reflection and for tools.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod p92 {
    pub mod api {
        pub mod v1 {
            tonic::include_proto!("p92.api.v1");
        }
    }
    pub mod event {
        pub mod v1 {
            tonic::include_proto!("p92.event.v1");
        }
    }
    pub mod federation_delivery {
        pub mod v1 {
            tonic::include_proto!("p92.federation_delivery.v1");
        }
    }
    pub mod identity {
        pub mod v1 {
            tonic::include_proto!("p92.identity.v1");
        }
    }
    pub mod operator {
        pub mod v1 {
            tonic::include_proto!("p92.operator.v1");
        }
    }
    pub mod posting {
        pub mod v1 {
            tonic::include_proto!("p92.posting.v1");
        }
    }
    pub mod ranking {
        pub mod v1 {
            tonic::include_proto!("p92.ranking.v1");
        }
    }
    pub mod timelines {
        pub mod v1 {
            tonic::include_proto!("p92.timelines.v1");
        }
    }
}

pub use p92::*;

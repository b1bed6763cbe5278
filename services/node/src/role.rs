//! What a process is: one of the services, or the door to them.

use clap::ValueEnum;
use p92_kernel::Service;

/// One part of P92, run in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Servers, accounts, credentials.
    Identity,
    /// Posts.
    Posting,
    /// Timelines.
    Timelines,
    /// What other hosts must get.
    FederationDelivery,
    /// Trends.
    Ranking,
    /// The door.
    Gateway,
}

impl Role {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Posting => "posting",
            Self::Timelines => "timelines",
            Self::FederationDelivery => "federation-delivery",
            Self::Ranking => "ranking",
            Self::Gateway => "gateway",
        }
    }

    /// The service whose log it keeps; the door keeps none.
    #[must_use]
    pub const fn service(self) -> Option<Service> {
        match self {
            Self::Identity => Some(Service::Identity),
            Self::Posting => Some(Service::Posting),
            Self::Timelines => Some(Service::Timelines),
            Self::FederationDelivery => Some(Service::FederationDelivery),
            Self::Ranking => Some(Service::Ranking),
            Self::Gateway => None,
        }
    }

    /// The services that it calls.
    #[must_use]
    pub const fn asks(self) -> &'static [Service] {
        match self {
            Self::Identity | Self::FederationDelivery | Self::Ranking => &[],
            Self::Posting => &[Service::Identity],
            Self::Timelines => &[Service::Identity, Service::Posting],
            Self::Gateway => &[Service::Identity, Service::Posting, Service::Timelines, Service::Ranking],
        }
    }
}

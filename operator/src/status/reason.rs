//! Why something is as it is. Pure.

/// Why something is as it is, in one word. Scripts match on them: they are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All of it runs.
    Running,
    /// `spec.suspend` holds something back.
    Suspended,
    /// The manifest asks for something that cannot be done.
    InvalidSpec,
    /// The API server refused an object.
    ApplyFailed,
    /// A checkpoint is gone.
    CheckpointMissing,
    /// Kafka is not ours.
    External,
    /// Every broker is ready.
    BrokersReady,
    /// Some brokers are not.
    BrokersStarting,
    /// They are, and some still have to be restarted for what changed.
    BrokersRestarting,
    /// Brokers that the manifest no longer asks for are emptied and taken away.
    BrokersLeaving,
    /// They cannot be emptied.
    BrokersLeavingRefused,
    /// Kafka's `metadata.version` cannot be what the manifest says.
    MetadataVersionRefused,
    /// Volumes are on their way to the size that the manifest says.
    VolumesGrowing,
    /// A volume was not allowed to grow.
    VolumesRefused,
    /// There was a quorum, and no broker has been ready for a while.
    QuorumLost,
    /// What the part needs is not there yet.
    Waiting,
    /// The topic is what the manifest says.
    TopicReady,
    /// The topic is being made or changed.
    TopicPending,
    /// Lines come in.
    SourceRunning,
    /// The source's pod is not ready.
    SourceStarting,
    /// Others write the topic.
    WrittenByOthers,
    /// Every ETL worker is ready.
    WorkersRunning,
    /// Some are not.
    WorkersStarting,
    /// A pod's process ends again and again.
    PodFailing,
    /// A pod is not made: it is refused.
    PodsNotMade,
    /// A pod finds no node.
    PodUnschedulable,
    /// A pod's image is not to be had.
    ImageUnavailable,
    /// A pod's Secret or claim is not there.
    VolumesMissing,
}

impl Reason {
    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Suspended => "Suspended",
            Self::InvalidSpec => "InvalidSpec",
            Self::ApplyFailed => "ApplyFailed",
            Self::CheckpointMissing => "CheckpointMissing",
            Self::External => "External",
            Self::BrokersReady => "BrokersReady",
            Self::BrokersStarting => "BrokersStarting",
            Self::BrokersRestarting => "BrokersRestarting",
            Self::BrokersLeaving => "BrokersLeaving",
            Self::BrokersLeavingRefused => "BrokersLeavingRefused",
            Self::MetadataVersionRefused => "MetadataVersionRefused",
            Self::VolumesGrowing => "VolumesGrowing",
            Self::VolumesRefused => "VolumesRefused",
            Self::QuorumLost => "QuorumLost",
            Self::Waiting => "Waiting",
            Self::TopicReady => "TopicReady",
            Self::TopicPending => "TopicPending",
            Self::SourceRunning => "SourceRunning",
            Self::SourceStarting => "SourceStarting",
            Self::WrittenByOthers => "WrittenByOthers",
            Self::WorkersRunning => "WorkersRunning",
            Self::WorkersStarting => "WorkersStarting",
            Self::PodFailing => "PodFailing",
            Self::PodsNotMade => "PodsNotMade",
            Self::PodUnschedulable => "PodUnschedulable",
            Self::ImageUnavailable => "ImageUnavailable",
            Self::VolumesMissing => "VolumesMissing",
        }
    }
}

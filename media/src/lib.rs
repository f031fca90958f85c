//! RTP, RTCP, SDP, codecs and play-out, sans-IO.

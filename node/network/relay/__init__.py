"""Connections between two members that can't reach each other, carried by a third: libp2p's circuit relay v2 and DCUtR.

The wire formats are libp2p's, and so are the protobuf classes. What speaks them is ours, on our own streams: the
library's services need its host on top (identify, peer store, discovery), whose dialling skips relay addresses; they
ask nobody who may reserve or be dialled, and buffer without regard to flow control. Here a relay serves members only,
in both directions, and a relayed connection passes the same gate as a direct one: Noise from end to end, so that the
relay sees ciphertext and can do nothing but cut it.
"""

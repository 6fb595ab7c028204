"""What goes over the wire: messages, tensors, errors, and the two transports of the client."""

"""An embedded model server that speaks TensorFlow Serving's contract.

Data flows one way: a front (`grpc_front`, `rest_front`) turns a request into tensors, the `data_plane` finds
the model in the `repository` and runs it, and the front turns the answer back. Only fronts know transports.
"""

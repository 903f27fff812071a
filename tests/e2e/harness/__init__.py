"""What the end-to-end tests are made with: the service under test, the engine, clients for HTTP and WebSocket, and
guests that behave in ways a real one does not on demand."""

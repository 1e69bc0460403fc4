"""The Solidity contracts and their compiled artifacts."""

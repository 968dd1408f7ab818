"""Researchers on other machines: who a node is, the hub to which nodes connect, a node's agent."""

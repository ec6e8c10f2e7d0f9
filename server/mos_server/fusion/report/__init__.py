"""What fusion did: kept, conflict and drift by concept and layer, and its page."""

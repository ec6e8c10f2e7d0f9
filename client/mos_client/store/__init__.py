"""What a site keeps on its disk: keys, outbox, requests, releases."""

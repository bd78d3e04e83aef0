"""What a stage reports of itself while it trains and as it ends."""

"""One worker process: started, listened to, ended."""

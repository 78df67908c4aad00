"""The actor kernel: Pykka actors on gevent. Knows nothing of sessions."""

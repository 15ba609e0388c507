"""Routes in etcd with many replicas, on one machine: what runs and what is done to it. Each module says what it does."""

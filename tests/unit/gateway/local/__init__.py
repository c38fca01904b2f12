"""Tests of marsmith/gateway/local."""

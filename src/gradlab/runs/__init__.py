"""Runs, opened: evaluated, predicted with, looked into."""

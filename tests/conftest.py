import os

# Several tests run at once: one thread each, before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

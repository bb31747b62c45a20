"""Add the modules of this folder to the packages of plug-ins, in this process.

Python imports it at its start from the first folder of PYTHONPATH, also in processes
that a job starts.
"""

import importlib.abc
import importlib.machinery
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PACKAGES = {
    *("transforms.formats", "transforms.grouping.methods", "transforms.layouts"),
    *("transforms.sampling.methods", "transforms.verification.readers"),
}


class AddPlugins(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname not in PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        spec.submodule_search_locations.append(str(FOLDER / fullname.replace(".", "/")))
        return spec


sys.meta_path.insert(0, AddPlugins())

"""What pyproject.toml cannot say: the wheel has recipes and job scripts in common/_share (common/resources.py)."""

from setuptools import find_packages, setup

SHARE = "common._share"  # for setuptools a package without modules, in the project's folder

setup(
    script_name="setup.py",  # which pip does not say, and which setuptools would take for a module of SHARE
    packages=[*find_packages(include=["cloudmask*", "common*", "tf_deepcam*"]), SHARE],
    package_dir={SHARE: "."},
    include_package_data=False,
    package_data={
        "cloudmask": ["py.typed", "published.yaml"],
        "common": ["py.typed"],
        "common.report": ["assets/*"],
        "tf_deepcam": ["py.typed", "published.yaml"],
        SHARE: ["config/*/*.yaml", "jobs/*.*", "jobs/container/*", "jobs/sites/*", "requirements.txt"],
    },
)

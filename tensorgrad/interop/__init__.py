"""Into and out of other libraries; import the module that is meant, such as ``tensorgrad.interop.sklearn``."""

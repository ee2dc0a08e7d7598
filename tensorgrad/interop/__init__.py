"""Interoperation with other libraries; import the module you need, such as ``tensorgrad.interop.sklearn``."""

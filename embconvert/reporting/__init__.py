"""The pages for people: conversion report, model card and comparison."""
